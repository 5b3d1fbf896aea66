/* Puts many small values into the index of an ASD that does not run, past its store, to see what
 * a large index costs at start-up: bench/asd_open.py.
 *
 * Usage: index_fill HOME KEYS
 * The values are sound, each is read by its key; what the usage record says is not changed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "asd/index.h"
#include "asd/record.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"

enum { BATCH_KEYS = 1000, VALUE_BYTES = 16 };

static int fill(struct asd_index *index, uint64_t keys, struct err *e)
{
    struct rnd rnd = rnd_seed(keys);
    struct buf key = {0};
    struct buf record = {0};
    int rc = 0;

    for (uint64_t done = 0; done < keys && rc == 0; done += BATCH_KEYS) {
        struct asd_index_batch batch = {0};

        for (unsigned i = 0; i < BATCH_KEYS; i++) {
            uint64_t value[VALUE_BYTES / sizeof(uint64_t)] = {rnd_next(&rnd), rnd_next(&rnd)};
            char text[40];
            struct asd_value_record r = {.bytes = VALUE_BYTES,
                                         .crc = crc32c(0, value, VALUE_BYTES)};

            snprintf(text, sizeof text, "key %020" PRIu64,
                     done + i); /* else it is sorted for ever */
            key.len = 0;
            record.len = 0;
            asd_key_value_put(&key, slice_str(text));
            asd_value_record_put(&record, slice_buf(&key), &r);
            buf_put(&record, value, VALUE_BYTES);
            asd_index_batch_put(&batch, slice_buf(&key), slice_buf(&record), slice_of(NULL, 0));
        }
        rc = index->ops->write(index, &batch, done + BATCH_KEYS >= keys, e);
        asd_index_batch_release(&batch);
    }
    buf_release(&key);
    buf_release(&record);
    return rc;
}

int main(int argc, char **argv)
{
    struct asd_index_rocksdb_options options = {0};
    struct asd_index *index = NULL;
    struct err e = {0};
    char *path;
    int rc;

    if (argc != 3) {
        fputs("usage: index_fill HOME KEYS\n", stderr);
        return 2;
    }
    path = mem_printf("%s/db", argv[1]);
    rc = asd_index_rocksdb_open(path, &options, &index, &e);
    if (rc == 0) {
        rc = fill(index, strtoull(argv[2], NULL, 10), &e);
        index->ops->close(index);
    }
    if (rc != 0) {
        fprintf(stderr, "index_fill: %s\n", e.msg);
    }
    free(path);
    return rc != 0;
}
