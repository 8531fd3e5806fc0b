#define _GNU_SOURCE
#include "tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct rdo_tls_trust {
    SSL_CTX *context;
};

struct rdo_tls {
    SSL *ssl;
    int socket;
};

static void explain(char *message, const char *fallback) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(message, RDO_TLS_MESSAGE_MAX, "%s", reason ? reason : fallback);
    ERR_clear_error();
}

rdo_tls_trust *rdo_tls_trust_new(const void *pem, size_t count, char *message) {
    BIO *input = BIO_new_mem_buf(pem, (int)count);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    X509_STORE *store = X509_STORE_new();
    rdo_tls_trust *trust = calloc(1, sizeof *trust);
    int found = 0;
    if (input && context && store && trust) {
        X509 *certificate;
        while ((certificate = PEM_read_bio_X509(input, NULL, NULL, NULL))) {
            if (X509_STORE_add_cert(store, certificate) == 1) found++;
            X509_free(certificate);
        }
        ERR_clear_error();
        SSL_CTX_set_cert_store(context, store);
        store = NULL;
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_AUTO_RETRY);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) found = 0;
    }
    BIO_free(input);
    X509_STORE_free(store);
    if (found) {
        trust->context = context;
        return trust;
    }
    explain(message, "no certificate in the PEM text");
    SSL_CTX_free(context);
    free(trust);
    return NULL;
}

rdo_tls_trust *rdo_tls_trust_anybody(char *message) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    rdo_tls_trust *trust = calloc(1, sizeof *trust);
    if (context && trust && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1) {
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_AUTO_RETRY);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        trust->context = context;
        return trust;
    }
    explain(message, "out of memory");
    SSL_CTX_free(context);
    free(trust);
    return NULL;
}

void rdo_tls_trust_free(rdo_tls_trust *trust) {
    if (!trust) return;
    SSL_CTX_free(trust->context);
    free(trust);
}

static int is_address(const char *host) {
    unsigned char space[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, space) == 1 || inet_pton(AF_INET6, host, space) == 1;
}

rdo_tls *rdo_tls_new(rdo_tls_trust *trust, int socket, const char *host, char *message) {
    rdo_tls *tls = calloc(1, sizeof *tls);
    SSL *ssl = tls ? SSL_new(trust->context) : NULL;
    int good = ssl != NULL && SSL_set_fd(ssl, socket) == 1;
    if (good && is_address(host)) {
        good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    } else if (good) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        good = SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
    }
    if (!good) {
        explain(message, "out of memory");
        SSL_free(ssl);
        free(tls);
        close(socket);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    tls->ssl = ssl;
    tls->socket = socket;
    return tls;
}

void rdo_tls_free(rdo_tls *tls) {
    if (!tls) return;
    SSL_free(tls->ssl);
    close(tls->socket);
    free(tls);
}

static int64_t milliseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Turns a result of OpenSSL into ours: waits for the socket where that helps. 1 means "try again".
static int settle(rdo_tls *tls, int result, int64_t deadline, char *message) {
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        int64_t left = deadline - milliseconds_now();
        if (left <= 0) return RDO_TLS_WAIT;
        struct pollfd wait = {
            .fd = tls->socket, .events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
        int ready = poll(&wait, 1, (int)left);
        if (ready == 0) return RDO_TLS_WAIT;
        if (ready > 0 || errno == EINTR) return 1;
        snprintf(message, RDO_TLS_MESSAGE_MAX, "%s", strerror(errno));
        return RDO_TLS_ERROR;
    }
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    long verified = SSL_get_verify_result(tls->ssl);
    int asks = SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE;
    if (error == SSL_ERROR_SSL && asks && verified != X509_V_OK) {
        const char *reason = X509_verify_cert_error_string(verified);
        snprintf(message, RDO_TLS_MESSAGE_MAX, "certificate refused: %s", reason);
        ERR_clear_error();
    } else if (error == SSL_ERROR_SYSCALL && ERR_peek_last_error() == 0 && errno != 0) {
        snprintf(message, RDO_TLS_MESSAGE_MAX, "%s", strerror(errno));
    } else {
        explain(message, "the connection was closed");
    }
    return RDO_TLS_ERROR;
}

// OpenSSL writes with write(2): a peer that is gone must not kill the process, so the signal is held back
// on this thread and dropped.
static sigset_t hold_signal(void) {
    sigset_t broken, before;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    return before;
}

static void release_signal(const sigset_t *before) {
    if (sigismember(before, SIGPIPE)) return;
    sigset_t broken;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    struct timespec none = {0, 0};
    while (sigtimedwait(&broken, NULL, &none) < 0 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

enum operation { HANDSHAKE, READ, WRITE };

static ssize_t perform(
    rdo_tls *tls, enum operation operation, void *bytes, size_t count, int milliseconds,
    char *message) {
    int64_t deadline = milliseconds_now() + milliseconds;
    sigset_t before = hold_signal();
    ssize_t answer;
    for (;;) {
        size_t moved = 0;
        ERR_clear_error();
        errno = 0;
        int result = operation == HANDSHAKE ? SSL_do_handshake(tls->ssl)
                     : operation == READ    ? SSL_read_ex(tls->ssl, bytes, count, &moved)
                                            : SSL_write_ex(tls->ssl, bytes, count, &moved);
        if (result == 1) {
            answer = operation == HANDSHAKE ? 1 : (ssize_t)moved;
            break;
        }
        int state = settle(tls, result, deadline, message);
        if (state == 1) continue;
        answer = state;
        if (state == 0 && operation != READ) {
            snprintf(message, RDO_TLS_MESSAGE_MAX, "the connection was closed");
            answer = RDO_TLS_ERROR;
        }
        break;
    }
    release_signal(&before);
    return answer;
}

int rdo_tls_handshake(rdo_tls *tls, int milliseconds, char *message) {
    return (int)perform(tls, HANDSHAKE, NULL, 0, milliseconds, message);
}

ssize_t rdo_tls_read(rdo_tls *tls, void *bytes, size_t count, int milliseconds, char *message) {
    return perform(tls, READ, bytes, count, milliseconds, message);
}

ssize_t rdo_tls_write(
    rdo_tls *tls, const void *bytes, size_t count, int milliseconds, char *message) {
    return perform(tls, WRITE, (void *)bytes, count, milliseconds, message);
}

int rdo_sha256(const void *bytes, size_t count, uint8_t digest[32]) {
    unsigned int length = 32;
    return EVP_Digest(bytes, count, digest, &length, EVP_sha256(), NULL) == 1 ? 0 : -1;
}
