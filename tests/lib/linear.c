#include "lib/linear.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"

enum { WORDS = LINEAR_OPS_MAX / 64 };

/* Which transactions are behind us, and what the names hold then. */
struct point {
    uint64_t behind[WORDS];
    uint32_t values[LINEAR_NAMES];
    uint32_t padding; /* 0: points are compared as bytes */
};

struct visited {
    struct point point;
    UT_hash_handle hh;
};

struct search {
    const struct linear_op *ops;
    size_t count;
    struct visited *visited;
    size_t farthest;
    size_t *blocked;
    size_t blocked_count;
};

static bool is_behind(const struct point *p, size_t i)
{
    return (p->behind[i / 64] >> (i % 64) & 1) != 0;
}

static bool holds(const struct linear_assert *a, uint32_t value)
{
    return a->kind == LINEAR_ANY || (a->kind == LINEAR_EXISTS && value != 0) ||
           (a->kind == LINEAR_IS && value == a->value);
}

static bool asserts_hold(const struct linear_op *op, const uint32_t values[LINEAR_NAMES])
{
    for (unsigned n = 0; n < LINEAR_NAMES; n++) {
        if (!holds(&op->asserts[n], values[n])) {
            return false;
        }
    }
    return true;
}

/* Can it be the next one? Then *next is what comes of it. */
static bool step(const struct linear_op *op, struct point *next)
{
    if (op->outcome == LINEAR_REFUSED) {
        return op->refused_name == LINEAR_NAME_ANY
                   ? !asserts_hold(op, next->values)
                   : !holds(&op->asserts[op->refused_name], next->values[op->refused_name]);
    }
    if (!asserts_hold(op, next->values)) {
        return false;
    }
    for (unsigned n = 0; n < LINEAR_NAMES; n++) {
        if (op->writes[n]) {
            next->values[n] = op->values[n];
        }
    }
    return true;
}

static bool was_visited(struct search *s, const struct point *p)
{
    struct visited *v;

    HASH_FIND(hh, s->visited, p, sizeof(*p), v);
    if (v != NULL) {
        return true;
    }
    v = mem_zalloc(sizeof(*v));
    v->point = *p;
    HASH_ADD(hh, s->visited, point, sizeof(v->point), v);
    return false;
}

/* The time before which the next one must have been called: the first end of those that have to
 * come and are not behind us. */
static uint64_t next_end(const struct search *s, const struct point *p)
{
    uint64_t end = UINT64_MAX;

    for (size_t i = 0; i < s->count; i++) {
        if (!is_behind(p, i) && s->ops[i].outcome != LINEAR_UNKNOWN && s->ops[i].returned < end) {
            end = s->ops[i].returned;
        }
    }
    return end;
}

/* Is something behind us that was called when op may not happen any more? */
static bool is_too_late(const struct search *s, const struct point *p, const struct linear_op *op)
{
    for (size_t i = s->count; op->until != 0 && i-- > 0 && s->ops[i].called > op->until;) {
        if (is_behind(p, i)) {
            return true;
        }
    }
    return false;
}

static void note_blocked(struct search *s, const struct point *p, size_t done, uint64_t end)
{
    if (done < s->farthest || (done == s->farthest && s->blocked_count > 0)) {
        return;
    }
    s->farthest = done;
    s->blocked_count = 0;
    for (size_t i = 0; i < s->count && s->ops[i].called < end; i++) {
        if (!is_behind(p, i)) {
            s->blocked[s->blocked_count++] = i;
        }
    }
}

static bool search_from(struct search *s, const struct point *p, size_t done)
{
    uint64_t end = next_end(s, p);

    if (end == UINT64_MAX) {
        return true; /* what is left may never have happened */
    }
    if (was_visited(s, p)) {
        return false;
    }
    for (size_t i = 0; i < s->count && s->ops[i].called < end; i++) {
        struct point next = *p;

        if (is_behind(p, i) || is_too_late(s, p, &s->ops[i]) || !step(&s->ops[i], &next)) {
            continue;
        }
        next.behind[i / 64] |= (uint64_t)1 << (i % 64);
        if (search_from(s, &next, done + 1)) {
            return true;
        }
    }
    note_blocked(s, p, done, end);
    return false;
}

bool linear_check(const struct linear_op *ops, size_t count, size_t ret_blocked[LINEAR_OPS_MAX],
                  size_t *ret_count)
{
    struct search s = {.ops = ops, .count = count, .blocked = ret_blocked};
    struct point start = {.padding = 0};
    struct visited *v, *tmp;
    bool found;

    CHECK(count <= LINEAR_OPS_MAX);
    found = search_from(&s, &start, 0);
    *ret_count = found ? 0 : s.blocked_count;
    HASH_ITER (hh, s.visited, v, tmp) {
        HASH_DEL(s.visited, v);
        free(v);
    }
    return found;
}
