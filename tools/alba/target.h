/* Through which proxy a verb works. The proxy-* verbs: the one that --host and --port name, else
 * those that the registry of --config lists, else the one of $ALBA_DIR, else those of the registry
 * of $ALBA_CONFIG; where it lists none, the default of --host and --port. All others: a
 * private one beside --config.
 *
 * When a proxy that was not named cannot be reached or is lost, calls go on with others that the
 * registry lists (of $ALBA_DIR, where the first one was of there). One thread. */
#ifndef ALBA_TARGET_H
#define ALBA_TARGET_H

#include <stdbool.h>

#include "alba/private_proxy.h"
#include "alba/session.h"

enum { TARGET_TIMEOUT_MS = 60000, TARGET_TRANSFER_TIMEOUT_MS = 24 * 3600 * 1000 };

struct target {
    struct session s;
    struct private_proxy proxy; /* {0} for the proxy-* verbs */
    bool is_private;
    char *config;      /* of the registry with other proxies; NULL: there are none. Owned */
    bool has_registry; /* that one is open */
};

/* Options of a verb that names its proxy. */
#define TARGET_OPTIONS                                                                             \
    {.name = "host",                                                                               \
     .letter = 'h',                                                                                \
     .arg = "HOST",                                                                                \
     .value_default = "::1",                                                                       \
     .help = "where the proxy listens: this one alone; without --host and --port: proxies that "   \
             "the registry of --config lists, else $ALBA_DIR's and, when that is not reached, "    \
             "others of its registry, else those of the registry of $ALBA_CONFIG"},                \
    {                                                                                              \
        .name = "port", .letter = 'p', .arg = "PORT", .value_default = "10000", .help = "its port" \
    }

int target_open(struct target *t, struct cli *cli);
/* With so many connections to a proxy that answers, for calls over t->s.proxy at the same time. */
int target_open_wide(struct target *t, struct cli *cli, unsigned connections);
void target_close(struct target *t); /* also after a failed open */
/* session_proxy() with the error in cli->err. What another proxy may do instead, it does: all that
 * was not executed, and what only reads. ERR_IN_DOUBT, and the words for it: it was sent, and
 * changes something, and no answer came. */
int target_call(struct target *t, struct cli *cli, const struct proxy_request *request,
                unsigned timeout_ms, struct proxy_reply *ret_reply);
/* Of another call over t->s.proxy: its error as cli->err. */
int target_fail(struct target *t, struct cli *cli, const struct err *why, int32_t proxy_code);

/* ERR_IN_DOUBT in the words of a verb: "may or may not have been DONE: …", DONE as "stored". */
int target_say_doubt(struct cli *cli, const char *done, const char *verb_to_look);

#endif
