/* Private to tls.c and tls_session.c. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <pthread.h>

#include <openssl/ssl.h>

#include "net/tls.h"

/* AES-GCM is good for 2^24.5 full records of a key (RFC 8446, 5.5). */
enum { NET_TLS_RECORDS_PER_KEY = 1 << 22 };

struct net_tls {
    enum net_tls_role role;
    unsigned records_per_key;   /* that sessions send */
    struct net_tls_files files; /* owned; the thread that reloads */
    BIO_METHOD *bio;
    pthread_mutex_t lock;
    SSL_CTX *ctx; /* under `lock` */
};

/* Reads what net_tls_give() was given, writes to what net_tls_out() shows. Its data is the
 * session. */
BIO_METHOD *net_tls_bio_new(void);

#endif
