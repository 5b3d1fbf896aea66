#include "alba/upload.h"

#include <errno.h>
#include <stdlib.h>

#include "alba/interrupt.h"
#include "alba/progress.h"
#include "alba/upload_stream.h"
#include "alba/verb.h"
#include "base/check.h"
#include "loop/io.h"
#include "net/proxy_upload.h"

enum {
    BUFFER_BYTES_MAX = 1073741824, /* what travels in one message */
    LOOK_MS = 200
};

/* What happens while the private proxy works. */
struct watch {
    struct target *t;
    struct progress progress;
    uint64_t read_before;
    uint64_t bytes;
    uv_timer_t timer;
    struct interrupt interrupt;
};

/* A retry reads the file once more: never beyond the end. */
static void on_time(uv_timer_t *timer)
{
    struct watch *w = timer->data;
    uint64_t done = private_proxy_bytes_read(&w->t->proxy) - w->read_before;

    progress_show(&w->progress, done < w->bytes ? done : w->bytes);
}

static void watch_begin(struct watch *w, struct target *t, uint64_t bytes)
{
    *w = (struct watch){.t = t, .bytes = bytes, .read_before = private_proxy_bytes_read(&t->proxy)};
    CHECK(uv_timer_init(&t->s.loop, &w->timer) == 0);
    w->timer.data = w;
    CHECK(uv_timer_start(&w->timer, on_time, LOOK_MS, LOOK_MS) == 0);
    interrupt_begin(&w->interrupt, t);
    progress_begin(&w->progress, "uploading", bytes, true);
}

static void watch_end(struct watch *w)
{
    progress_end(&w->progress);
    uv_close((uv_handle_t *)&w->timer, NULL);
    interrupt_end(&w->interrupt); /* the timer is closed before */
}

/* The proxy opens the file itself. */
static int by_path(struct target *t, struct cli *cli, const struct upload *u)
{
    struct proxy_request request = {.code = PROXY_WRITE_OBJECT_FS,
                                    .ns = slice_str(u->ns),
                                    .object = {.name = u->name,
                                               .file = slice_str(u->path),
                                               .allow_overwrite = u->allow_overwrite}};
    struct proxy_reply reply;
    struct watch w;
    int rc;

    if (t->is_private) {
        watch_begin(&w, t, u->bytes);
    }
    rc = target_call(t, cli, &request, TARGET_TRANSFER_TIMEOUT_MS, &reply);
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    if (t->is_private) {
        watch_end(&w);
        if (rc != 0 && w.interrupt.happened) {
            rc = err_say(&cli->err, ERR_CANCELED, "interrupted; it is there whole or not at all");
        }
    }
    return rc;
}

static int by_buffer(struct target *t, struct cli *cli, const struct upload *u)
{
    uint8_t *data = NULL;
    size_t bytes;
    int rc = io_load_file(io_real(), u->path, BUFFER_BYTES_MAX, &data, &bytes);
    struct proxy_assert absent = {.kind = PROXY_ASSERT_ABSENT, .name = u->name};
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD, .name = u->name};
    struct proxy_request request = {
        .code = PROXY_APPLY_SEQUENCE,
        .ns = slice_str(u->ns),
        .apply = {.updates = &update, .update_count = 1, .asserts = &absent}};
    struct proxy_reply reply;

    if (rc != 0) {
        return err_set(&cli->err, rc, "read %.200s", u->path);
    }
    update.data = slice_of(data, bytes);
    request.apply.assert_count = u->allow_overwrite ? 0 : 1;
    rc = target_call(t, cli, &request, TARGET_TRANSFER_TIMEOUT_MS, &reply);
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    free(data);
    return rc;
}

/* A proxy that knows no streams. */
static int as_before(struct target *t, struct cli *cli, const struct upload *u)
{
    int rc;

    if (u->bytes <= BUFFER_BYTES_MAX) {
        return by_buffer(t, cli, u);
    }
    rc = by_path(t, cli, u);
    if (rc != 0 && (cli->exception_code == PROXY_RC_FILE_NOT_FOUND || /* on its machine, */
                    cli->exception_code == PROXY_RC_UNKNOWN)) {       /* or it may not */
        err_say(&cli->err, rc,
                "%.150s is larger than 1 GiB, and this proxy, an older one, may not read it "
                "itself; alba upload-object stores it",
                u->path);
    }
    return rc;
}

int upload_object(struct target *t, struct cli *cli, const struct upload *u)
{
    int rc;

    if (t->is_private) {
        return by_path(t, cli, u);
    }
    if (u->bytes <= PROXY_UPLOAD_BYTES_MIN) {
        return by_buffer(t, cli, u);
    }
    rc = upload_stream(t, cli, u);
    return rc != 0 && cli->exception_code == PROXY_RC_UNKNOWN_OPERATION ? as_before(t, cli, u) : rc;
}
