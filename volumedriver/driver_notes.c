#include "volumedriver/driver_notes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/io.h"
#include "volumedriver/journal.h"

static char *notes_dir(const char *home)
{
    return mem_printf("%s/deleted", home);
}

int driver_note_deleted(const char *home, const char *uuid, struct err *e)
{
    struct io *io = io_real();
    char *dir = notes_dir(home);
    int rc = io_make_dir(io, dir);

    rc = rc != 0 ? rc : io->ops->sync_dir(io, home);
    rc = rc != 0 ? rc : io_store_file(io, dir, uuid, "", 0);
    if (rc != 0) {
        err_set(e, rc, "note %s/%s", dir, uuid);
    }
    free(dir);
    return rc;
}

static void drop_record(void *ctx, struct record *record)
{
    journal_record_drop(ctx, record);
}

struct names {
    char **items;
    unsigned count;
};

static bool take_name(void *ctx, const char *name)
{
    struct names *names = ctx;

    names->items = mem_realloc(names->items, (names->count + 1) * sizeof(*names->items));
    names->items[names->count++] = mem_strdup(name);
    return true;
}

static bool journal_holds(struct journal *journal, const uint8_t uuid[UUID_BYTES])
{
    for (unsigned i = 0; i < journal_tail_count(journal); i++) {
        if (memcmp(journal_tail_volume(journal, i), uuid, UUID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* The journal forgets it; its segments are written again before the note could matter, but a
 * crash until then shows the records once more, so the note stays until nothing is found. */
static void apply_note(struct journal *journal, const char *dir, const char *name)
{
    struct io *io = io_real();
    uint8_t uuid[UUID_BYTES];
    struct tail tail;
    char *path;

    if (hex_decode_uuid(uuid, name) != 0) {
        return;
    }
    if (journal_holds(journal, uuid)) {
        journal_take_tail(journal, uuid, &tail);
        log_info("driver", "journal records of a deleted volume dropped", "uuid=%s count=%u", name,
                 tail.count);
        tail_release(&tail, drop_record, journal);
        return;
    }
    path = mem_printf("%s/%s", dir, name);
    io->ops->unlink(io, path);
    free(path);
}

int driver_notes_apply(const char *home, struct journal *journal, struct err *e)
{
    struct io *io = io_real();
    struct names names = {0};
    char *dir = notes_dir(home);
    int rc = io->ops->list_dir(io, dir, take_name, &names);

    rc = rc == -ENOENT ? 0 : rc;
    if (rc != 0) {
        err_set(e, rc, "notes of deleted volumes in %s", dir);
    }
    for (unsigned i = 0; i < names.count; i++) {
        if (rc == 0) {
            apply_note(journal, dir, names.items[i]);
        }
        free(names.items[i]);
    }
    free(names.items);
    free(dir);
    return rc;
}
