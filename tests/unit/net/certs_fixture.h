/* A directory with the certificates of a deployment, and some that are wrong. For tests only. */
#ifndef TESTS_NET_CERTS_FIXTURE_H
#define TESTS_NET_CERTS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "lib/certs.h"
#include "lib/tempdir.h"
#include "net/tls.h"

enum pair { PAIR_SERVER, PAIR_CLIENT, PAIR_EXPIRED, PAIR_STRANGER, PAIR_ELSEWHERE, PAIRS };

struct certs {
    char *dir;
    char *ca; /* files */
    char *other_ca;
    char *cert[PAIRS];
    char *key[PAIRS];
};

/* Into `dir`. */
static inline void certs_write(struct certs *c)
{
    static const struct {
        const char *name;
        const char *alt_names;
    } pairs[PAIRS] = {[PAIR_SERVER] = {"server", "IP:127.0.0.1,IP:::1,DNS:store-1"},
                      [PAIR_CLIENT] = {"client", NULL},
                      [PAIR_EXPIRED] = {"expired", "IP:127.0.0.1"},
                      [PAIR_STRANGER] = {"stranger", "IP:127.0.0.1"}, /* of the other CA */
                      [PAIR_ELSEWHERE] = {"elsewhere", "IP:192.0.2.1,DNS:store-2"}};
    struct certs_ca *ca, *other;

    c->ca = tempdir_path(c->dir, "ca.pem");
    c->other_ca = tempdir_path(c->dir, "other-ca.pem");
    ca = certs_ca_new("ca", c->ca);
    other = certs_ca_new("other ca", c->other_ca);
    for (unsigned i = 0; i < PAIRS; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s.pem", pairs[i].name);
        c->cert[i] = tempdir_path(c->dir, name);
        snprintf(name, sizeof name, "%s.key", pairs[i].name);
        c->key[i] = tempdir_path(c->dir, name);
        certs_leaf_make(i == PAIR_STRANGER ? other : ca,
                        &(struct certs_leaf){.name = pairs[i].name,
                                             .alt_names = pairs[i].alt_names,
                                             .expired = i == PAIR_EXPIRED,
                                             .cert_path = c->cert[i],
                                             .key_path = c->key[i]});
    }
    certs_ca_free(ca);
    certs_ca_free(other);
}

static inline void certs_make(struct certs *c)
{
    c->dir = tempdir_make();
    certs_write(c);
}

static inline void certs_release(struct certs *c)
{
    for (unsigned i = 0; i < PAIRS; i++) {
        free(c->cert[i]);
        free(c->key[i]);
    }
    free(c->ca);
    free(c->other_ca);
}

static inline void certs_remove(struct certs *c)
{
    certs_release(c);
    tempdir_remove(c->dir);
}

static inline struct net_tls_files certs_files(const struct certs *c, enum pair pair)
{
    return (struct net_tls_files){.ca_cert = c->ca, .cert = c->cert[pair], .key = c->key[pair]};
}

#endif
