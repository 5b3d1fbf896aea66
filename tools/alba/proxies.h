/* The proxies that the registry lists, and which of them a verb uses. One thread. */
#ifndef ALBA_PROXIES_H
#define ALBA_PROXIES_H

#include "alba/session.h"
#include "meta/proxy_record.h"

enum { PROXIES_USED_MAX = 2 /* one to work through, one to fail over to */ };

struct proxies {
    struct proxy_record *records; /* owned */
    size_t count;
    size_t damaged; /* records that cannot be read */
};

/* Of the registry that `s` has opened; s->err. */
int proxies_list(struct session *s, struct proxies *ret_proxies);
void proxies_release(struct proxies *proxies); /* accepts {0} */

/* Of the registry that `s` has opened, takes up to PROXIES_USED_MAX of its proxies, of this
 * machine first, the others by chance, that answer and are of the same alba. s->proxy stays NULL
 * when none is listed; ERR_NOT_FOUND when none of them answers. s->err. */
int proxies_use(struct session *s);
/* The same for what can be done without: one, unless a second passes before any was found. */
int proxies_use_one(struct session *s);

#endif
