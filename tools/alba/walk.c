#include "alba/walk.h"

#include <errno.h>
#include <string.h>

#include "wire/proxy_msg.h"

static int take_bool(struct cli *cli, const char *name, bool *ret_value)
{
    const char *text = cli_option(cli, name);

    *ret_value = strcmp(text, "true") == 0;
    if (!*ret_value && strcmp(text, "false") != 0) {
        return err_say(&cli->err, -EINVAL, "--%s=%.100s: want true or false", name, text);
    }
    return 0;
}

int walk_init(struct walk *w, struct cli *cli, size_t name_bytes_max)
{
    const char *first = cli_option(cli, "first");
    const char *last = cli_option(cli, "last");
    int rc;

    *w = (struct walk){.reverse = cli_flag(cli, "reverse")};
    rc = cli_number(cli, "max", -1, INT32_MAX, &w->left);
    if (rc == 0 && first != NULL) {
        rc = cli_bytes(cli, first, &w->first_bytes);
    } else if (w->reverse) { /* from the end: no name is greater than this */
        memset(buf_extend(&w->first_bytes, name_bytes_max), 0xff, name_bytes_max);
    }
    rc = rc != 0 ? rc : take_bool(cli, "finc", &w->first_included);
    rc = rc != 0 ? rc : take_bool(cli, "linc", &w->last_included);
    if (rc == 0 && last != NULL) {
        w->has_last = true;
        rc = cli_bytes(cli, last, &w->last_bytes);
    }
    w->first = slice_buf(&w->first_bytes);
    w->last = slice_buf(&w->last_bytes);
    return rc;
}

void walk_release(struct walk *w)
{
    buf_release(&w->first_bytes);
    buf_release(&w->last_bytes);
}

void walk_next(struct walk *w, struct slice name, bool included)
{
    struct buf first = {0};

    buf_put(&first, name.data, name.len);
    buf_release(&w->first_bytes);
    w->first_bytes = first;
    w->first = slice_buf(&w->first_bytes);
    w->first_included = included;
}

int32_t walk_max(const struct walk *w, int32_t max)
{
    return w->left < 0 || w->left > max ? max : (int32_t)w->left;
}

struct proxy_range walk_proxy_range(const struct walk *w)
{
    return (struct proxy_range){.first = w->first,
                                .last = w->last,
                                .max = walk_max(w, PROXY_RANGE_MAX),
                                .first_included = w->first_included,
                                .has_last = w->has_last,
                                .last_included = w->last_included,
                                .reverse = w->reverse};
}

bool walk_goes_on(struct walk *w, uint32_t count, struct slice last, bool more)
{
    w->more = more;
    if (w->left >= 0) {
        w->left -= count < w->left ? count : w->left;
    }
    if (count == 0) {
        return false; /* whatever it says about more */
    }
    walk_next(w, last, false);
    return more && w->left != 0;
}

/* Does `name` stand on this side of `end`, as the list goes? */
static bool is_before(const struct walk *w, struct slice name, struct slice end, bool included)
{
    int order = slice_cmp(name, end);

    return order == 0 ? included : (order < 0) != w->reverse;
}

bool walk_takes(struct walk *w, struct slice name)
{
    if (w->left == 0 || is_before(w, name, w->first, !w->first_included) ||
        (w->has_last && !is_before(w, name, w->last, w->last_included))) {
        return false;
    }
    w->left -= w->left > 0;
    return true;
}
