/* The one ASD a verb works on: that of --host and --port, or, for a verb that takes --config, the
 * one the registry knows by its --long-id. One thread; calls block. */
#ifndef ALBA_ASD_LINK_H
#define ALBA_ASD_LINK_H

#include "alba/asd_call.h"
#include "alba/session.h"
#include "net/addr.h"

struct cli;

enum { ASD_LINK_TIMEOUT_MS = 30000 };

struct asd_link {
    struct session s;
    struct asd_client *client;

    struct cli *cli; /* private from here on */
    int64_t attempts;
};

#define ASD_LINK_ATTEMPTS                                                                          \
    {                                                                                              \
        .name = "attempts", .arg = "N", .value_default = "1",                                      \
        .help = "how often to try when it cannot be reached, a second apart"                       \
    }
/* Where an ASD is, for verbs that work on whatever answers there. */
#define ASD_LINK_ADDRESS                                                                           \
    {.name = "host",                                                                               \
     .letter = 'h',                                                                                \
     .arg = "HOST",                                                                                \
     .value_default = "::1",                                                                       \
     .help = "where the ASD listens"},                                                             \
    {                                                                                              \
        .name = "port", .letter = 'p', .arg = "PORT", .value_default = "8000", .help = "its port"  \
    }
#define ASD_LINK_OPTIONS                                                                           \
    ASD_LINK_ADDRESS,                                                                              \
        {.name = "long-id", .arg = "ID", .help = "refuse any other ASD that answers there"},       \
        ASD_LINK_ATTEMPTS
#define ASD_LINK_OSD_OPTIONS                                                                       \
    {.name = "long-id", .arg = "ID", .help = "which OSD, as alba list-all-osds shows it"},         \
        ASD_LINK_ATTEMPTS

/* Fails with cli->err; close it in any case. Connects with the first call. */
int asd_link_open(struct asd_link *l, struct cli *cli);
void asd_link_close(struct asd_link *l);
/* On 0 *ret_answer is to be released; else cli->err says what, where, and what to do. */
int asd_link_call(struct asd_link *l, const struct asd_request *request,
                  struct asd_answer *ret_answer);
/* The same for an error of another call over l->client. */
int asd_link_fail(struct asd_link *l, const struct err *why);

#endif
