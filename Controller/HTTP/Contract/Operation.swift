package import HTTPTypes

/// What a route takes and answers, as its registration says it.
///
/// The document at `/openapi.json` is made from these and from the routes' paths, methods and `Access`; what
/// follows from those (parameters of the path, refusals, the service's form of errors) is not repeated here.
package struct Operation: Sendable {
    /// A parameter of the query or a header.
    package struct Parameter: Sendable {
        /// Where it stands in a request.
        package enum Place: String, Sendable {
            case query, header
        }

        package let name: String
        let place: Place
        let schema: Schema
        let note: String
        let isRequired: Bool

        package init(
            _ name: String,
            _ schema: Schema = .text,
            _ note: String = "",
            in place: Place = .query,
            isRequired: Bool = false
        ) {
            self.name = name
            self.place = place
            self.schema = schema
            self.note = note
            self.isRequired = isRequired
        }
    }

    /// A body that the route takes.
    package struct Body: Sendable {
        let schema: Schema
        let type: String
        let isRequired: Bool

        /// JSON.
        package static func json(_ schema: Schema) -> Body {
            Body(schema: schema, type: "application/json", isRequired: true)
        }

        /// JSON, or nothing.
        package static func optional(_ schema: Schema) -> Body {
            Body(schema: schema, type: "application/json", isRequired: false)
        }

        /// Bytes of a type; `schema` describes forms.
        package static func bytes(_ type: String, _ schema: Schema = .any) -> Body {
            Body(schema: schema, type: type, isRequired: true)
        }
    }

    /// An answer of the route when all goes well.
    package struct Answer: Sendable {
        let status: HTTPResponse.Status
        /// `nil` has no body.
        let schema: Schema?
        let type: String

        /// 200 with JSON.
        package static func ok(_ schema: Schema) -> Answer { json(.ok, schema) }
        /// 201 with JSON.
        package static func created(_ schema: Schema) -> Answer { json(.created, schema) }
        /// 202 without a body.
        package static let accepted = Answer(status: .accepted, schema: nil, type: "")
        /// 204.
        package static let nothing = Answer(status: .noContent, schema: nil, type: "")

        /// Any status with JSON.
        package static func json(_ status: HTTPResponse.Status, _ schema: Schema) -> Answer {
            Answer(status: status, schema: schema, type: "application/json")
        }

        /// A status without a body.
        package static func empty(_ status: HTTPResponse.Status) -> Answer {
            Answer(status: status, schema: nil, type: "")
        }

        /// A body that is no JSON.
        package static func text(_ type: String, _ status: HTTPResponse.Status = .ok) -> Answer {
            Answer(status: status, schema: .text, type: type)
        }

        /// Bytes.
        package static func bytes(
            _ type: String,
            _ status: HTTPResponse.Status = .ok
        ) -> Answer {
            Answer(status: status, schema: .any, type: type)
        }
    }

    let summary: String
    let parameters: [Parameter]
    let body: Body?
    let answers: [Answer]
    /// Refusals that do not follow from the route's kind.
    let refusals: [HTTPResponse.Status]

    /// `summary` is one short clause in the imperative, without a full stop; `refusals` names codes that do
    /// not follow from method, path, body and access: 501, 429.
    package init(
        _ summary: String,
        _ parameters: [Parameter] = [],
        takes body: Body? = nil,
        answers: Answer...,
        refusals: [HTTPResponse.Status] = []
    ) {
        self.init(
            summary: summary,
            parameters: parameters,
            body: body,
            answers: answers,
            refusals: refusals
        )
    }

    private init(
        summary: String,
        parameters: [Parameter],
        body: Body?,
        answers: [Answer],
        refusals: [HTTPResponse.Status]
    ) {
        self.summary = summary
        self.parameters = parameters
        self.body = body
        self.answers = answers
        self.refusals = refusals
    }

    /// Names of the query that the route knows.
    package var queryNames: Set<String> {
        Set(parameters.filter { $0.place == .query }.map(\.name))
    }

    /// The same with more parameters and refusals: what a whole service has on each of its routes.
    package func adding(
        _ parameters: [Parameter],
        refusals: [HTTPResponse.Status] = []
    ) -> Operation {
        Operation(
            summary: summary,
            parameters: self.parameters + parameters,
            body: body,
            answers: answers,
            refusals: self.refusals + refusals
        )
    }
}
