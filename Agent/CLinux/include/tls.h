// A TLS client connection and digests on OpenSSL 3, with nothing of OpenSSL in sight.
#ifndef RDO_TLS_H
#define RDO_TLS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RDO_TLS_ERROR (-1)
// Nothing happened within the time given; ask again.
#define RDO_TLS_WAIT (-2)
#define RDO_TLS_MESSAGE_MAX 256

typedef struct rdo_tls_trust rdo_tls_trust;
typedef struct rdo_tls rdo_tls;

// Trusts the PEM certificates given and no others. NULL with a message when there is none among them.
rdo_tls_trust *rdo_tls_trust_new(const void *pem, size_t count, char *message);
// Takes every peer's word; for what may be told to anybody. NULL with a message when memory is short.
rdo_tls_trust *rdo_tls_trust_anybody(char *message);
void rdo_tls_trust_free(rdo_tls_trust *trust);

// Takes over a connected, non-blocking socket. `host` is the address or name that the peer must prove.
// NULL with a message on failure; the socket is closed then as well.
rdo_tls *rdo_tls_new(rdo_tls_trust *trust, int socket, const char *host, char *message);
void rdo_tls_free(rdo_tls *tls);

// 1 when done, else RDO_TLS_WAIT or RDO_TLS_ERROR with a message.
int rdo_tls_handshake(rdo_tls *tls, int milliseconds, char *message);
// Bytes moved, 0 at the end of the stream (read only), else RDO_TLS_WAIT or RDO_TLS_ERROR.
ssize_t rdo_tls_read(rdo_tls *tls, void *bytes, size_t count, int milliseconds, char *message);
ssize_t rdo_tls_write(
    rdo_tls *tls, const void *bytes, size_t count, int milliseconds, char *message);

// The SHA-256 of the bytes; 0 on success.
int rdo_sha256(const void *bytes, size_t count, uint8_t digest[32]);

#endif
