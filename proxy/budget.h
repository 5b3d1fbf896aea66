/* Memory that transfers may hold at once, in bytes: who does not fit waits its turn.
 *
 * First come, first served, so a large request is not overtaken for ever; one that is
 * larger than the whole budget runs alone. A holder never waits for anything else of the same
 * budget, so nobody waits for ever. Loop thread only. */
#ifndef PROXY_BUDGET_H
#define PROXY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "loop/later.h"

struct budget {
    size_t limit_bytes;
    size_t used_bytes;
    unsigned waiting_count;

    struct list waiting; /* private */
    struct later *later;
};

struct budget_share;
typedef void (*budget_cb)(struct budget_share *share);

enum budget_share_state { BUDGET_NONE, BUDGET_WAITING, BUDGET_GRANTED, BUDGET_HELD };

/* Embedded by who asks; {0} holds nothing. */
struct budget_share {
    size_t bytes; /* private */
    enum budget_share_state state;
    struct budget *budget;
    budget_cb cb;
    struct list link;
    struct later_item granted;
};

void budget_init(struct budget *budget, size_t limit_bytes, struct later *later);
/* `cb` runs once the bytes are ours, never from inside the call. */
void budget_take(struct budget *budget, struct budget_share *share, size_t bytes, budget_cb cb);
/* Give back what is held, or stop waiting (then `cb` does not run). Accepts {0}. */
void budget_give(struct budget_share *share);

#endif
