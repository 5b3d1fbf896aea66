/* Which part of an ordered list a verb shows, and how far it has come: --first, --finc, --last,
 * --linc, --max and --reverse. Names are any bytes. One thread. */
#ifndef ALBA_WALK_H
#define ALBA_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "alba/verb.h"
#include "base/buf.h"
#include "wire/proxy_request.h"

struct walk {
    struct slice first; /* where to go on; the upper end when `reverse` */
    struct slice last;
    bool first_included;
    bool has_last;
    bool last_included;
    bool reverse;
    int64_t left; /* how many are still wanted; < 0: all */
    bool more;    /* as the last answer had it */

    struct buf first_bytes; /* private from here on */
    struct buf last_bytes;
};

/* `of` is what is listed: "KEY"; `max_default` "-1": all. */
#define WALK_OPTIONS(of, max_default)                                                              \
    {.name = "first", .arg = (of), .help = "begin here (default: at the first one)"},              \
        {.name = "finc", .arg = "BOOL", .value_default = "true", .help = "with --first itself"},   \
        {.name = "last", .arg = (of), .help = "end here (default: at the last one)"},              \
        {.name = "linc", .arg = "BOOL", .value_default = "true", .help = "with --last itself"},    \
        {.name = "max",                                                                            \
         .arg = "N",                                                                               \
         .value_default = (max_default),                                                           \
         .help = "so many at most; -1: all"},                                                      \
        {.name = "reverse", .help = "downwards; --first is the upper end then"}, CLI_UNESCAPE

/* From the options of a verb; release in any case. No name has more than `name_bytes_max`. */
int walk_init(struct walk *w, struct cli *cli, size_t name_bytes_max);
void walk_release(struct walk *w);
/* Goes on behind `name`, or with it. */
void walk_next(struct walk *w, struct slice name, bool included);
/* How many to ask for, of `max` that one answer may have. */
int32_t walk_max(const struct walk *w, int32_t max);
struct proxy_range walk_proxy_range(const struct walk *w);
/* `count` names came, the last of them `last`: true if there are more to ask for. */
bool walk_goes_on(struct walk *w, uint32_t count, struct slice last, bool more);
/* Where all names are at hand: is this one shown? To be called once for each, in order. */
bool walk_takes(struct walk *w, struct slice name);

#endif
