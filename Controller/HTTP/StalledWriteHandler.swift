import NIOCore
import NIOHTTPTypes

/// Closes a connection whose client takes nothing of its answer for too long.
///
/// Reading is bounded by Hummingbird's idle time; without this a client that asks for a large file and
/// then stops reading would keep its place for ever.
final class StalledWriteHandler: ChannelOutboundHandler, RemovableChannelHandler {
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let limit: TimeAmount
    private var pending = 0
    private var lastProgress = NIODeadline.now()
    private var check: Scheduled<Void>?

    init(limit: TimeAmount) { self.limit = limit }

    func handlerRemoved(context: ChannelHandlerContext) {
        check?.cancel()
        check = nil
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let promise = promise ?? context.eventLoop.makePromise(of: Void.self)
        if pending == 0 { lastProgress = .now() }
        pending += 1
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.pending -= 1
            self.lastProgress = .now()
        }
        context.write(data, promise: promise)
        watch(context)
    }

    private func watch(_ context: ChannelHandlerContext) {
        guard check == nil else { return }
        check = context.eventLoop.assumeIsolated().scheduleTask(deadline: lastProgress + limit) {
            self.check = nil
            guard self.pending > 0 else { return }
            if NIODeadline.now() >= self.lastProgress + self.limit {
                context.close(promise: nil)
            } else {
                self.watch(context)
            }
        }
    }
}
