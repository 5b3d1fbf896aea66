/* Reads that are waited for, with what they brought. */
#include <signal.h>
#include <stdlib.h>

#include "alba/backup.h"
#include "base/mem.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int signum)
{
    (void)signum;
    interrupted = 1;
}

void backup_catch_signals(void)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
}

int backup_interrupted(struct session *s)
{
    return interrupted ? err_say(&s->err, ERR_CANCELED, "interrupted") : 0;
}

struct page_op {
    struct session *s;
    struct backup_page *page;
};

static struct slice copy(struct buf *bytes, struct slice from)
{
    size_t at = bytes->len;

    buf_put(bytes, from.data, from.len);
    return slice_of(bytes->data + at, from.len); /* it was reserved: nothing moves */
}

static void on_page(void *ctx, int rc, const struct kv_reply *reply)
{
    struct page_op *op = ctx;
    struct backup_page *page = op->page;
    size_t bytes = 0;

    if (rc == 0) {
        for (size_t i = 0; i < reply->count; i++) {
            bytes += reply->items[i].key.len + reply->items[i].value.len;
        }
        buf_reserve(&page->bytes, bytes + 1);
        page->items = mem_array(reply->count + 1, sizeof(*page->items));
        page->count = reply->count;
        page->has_more = reply->has_more && reply->count != 0;
    }
    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        page->items[i] = reply->items[i];
        page->items[i].key = copy(&page->bytes, reply->items[i].key);
        page->items[i].value = copy(&page->bytes, reply->items[i].value);
    }
    session_done(op->s, rc, reply->err);
}

void backup_page_release(struct backup_page *page)
{
    free(page->items);
    buf_release(&page->bytes);
    *page = (struct backup_page){0};
}

int backup_range(struct session *s, struct kv *kv, struct slice low, struct slice high,
                 size_t limit, bool keys_only, struct backup_page *page)
{
    struct page_op op = {.s = s, .page = page};

    backup_page_release(page);
    if (backup_interrupted(s) != 0) {
        return ERR_CANCELED;
    }
    kv_range(kv,
             &(struct kv_range){.low = low, .high = high, .limit = limit, .keys_only = keys_only},
             0, on_page, &op);
    return session_wait(s);
}

int backup_get(struct session *s, struct kv *kv, const struct slice *keys, size_t count,
               struct backup_page *page)
{
    struct page_op op = {.s = s, .page = page};

    backup_page_release(page);
    if (backup_interrupted(s) != 0) {
        return ERR_CANCELED;
    }
    kv_get(kv, keys, count, 0, on_page, &op);
    return session_wait(s);
}
