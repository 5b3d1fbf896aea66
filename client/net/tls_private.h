/* Private to tls.c and tls_session.c. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <pthread.h>

#include <openssl/ssl.h>

#include "net/tls.h"

struct net_tls {
    enum net_tls_role role;
    struct net_tls_files files; /* owned; the thread that reloads */
    BIO_METHOD *bio;
    pthread_mutex_t lock;
    SSL_CTX *ctx; /* under `lock` */
};

/* Reads what net_tls_give() was given, writes to what net_tls_out() shows. Its data is the
 * session. */
BIO_METHOD *net_tls_bio_new(void);

#endif
