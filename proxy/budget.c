#include "proxy/budget.h"

#include "base/check.h"

void budget_init(struct budget *budget, size_t limit_bytes, struct later *later)
{
    *budget = (struct budget){.limit_bytes = limit_bytes, .later = later};
    list_init(&budget->waiting);
}

static void on_granted(struct later_item *item)
{
    struct budget_share *share = container_of(item, struct budget_share, granted);

    share->state = BUDGET_HELD;
    share->cb(share);
}

static bool fits(const struct budget *budget, size_t bytes)
{
    return budget->used_bytes == 0 || (budget->used_bytes < budget->limit_bytes &&
                                       bytes <= budget->limit_bytes - budget->used_bytes);
}

static void grant_waiting(struct budget *budget)
{
    while (!list_empty(&budget->waiting)) {
        struct budget_share *share = container_of(budget->waiting.next, struct budget_share, link);

        if (!fits(budget, share->bytes)) {
            return;
        }
        list_remove(&share->link);
        budget->waiting_count--;
        budget->used_bytes += share->bytes;
        share->state = BUDGET_GRANTED;
        later_run(budget->later, &share->granted, on_granted);
    }
}

void budget_take(struct budget *budget, struct budget_share *share, size_t bytes, budget_cb cb)
{
    CHECK(share->state == BUDGET_NONE);
    share->bytes = bytes;
    share->budget = budget;
    share->cb = cb;
    share->state = BUDGET_WAITING;
    list_push(&budget->waiting, &share->link);
    budget->waiting_count++;
    grant_waiting(budget);
}

void budget_give(struct budget_share *share)
{
    struct budget *budget = share->budget;

    switch (share->state) {
    case BUDGET_NONE:
        return;
    case BUDGET_WAITING:
        list_remove(&share->link);
        budget->waiting_count--;
        break;
    case BUDGET_GRANTED:
        list_remove(&share->granted.link);
        budget->used_bytes -= share->bytes;
        break;
    case BUDGET_HELD:
        budget->used_bytes -= share->bytes;
        break;
    }
    share->state = BUDGET_NONE;
    grant_waiting(budget);
}
