#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "e2e/nbd_stamp.h"
#include "volumedriver/nbd_proto.h"

enum { CHUNK_BLOCKS = 256, OFFENDERS_MAX = 20 };

static const char *const verdict_names[STAMP_VERDICTS] = {"good", "lost", "stale", "torn",
                                                          "foreign"};

struct verify {
    const struct stamp_options *o;
    struct stamp_table table;
    struct stamp_client client;
    uint8_t *data;
    uint64_t counts[STAMP_VERDICTS];
    uint64_t unacked;
};

/* One try. The connection is closed when it fails. */
static int read_once(struct verify *v, uint64_t block, uint32_t count, uint32_t *ret_error)
{
    uint64_t cookie;
    uint32_t bytes = count * STAMP_BLOCK_BYTES;
    int rc = stamp_client_send(&v->client, NBD_CMD_READ, 0, block, block * STAMP_BLOCK_BYTES, bytes,
                               NULL);

    *ret_error = 0;
    if (rc == 0) {
        rc = stamp_client_reply(&v->client, &cookie, ret_error);
    }
    if (rc == 0 && *ret_error == 0) {
        rc = stamp_client_receive(&v->client, v->data, bytes);
    }
    if (rc != 0 || *ret_error == NBD_ESHUTDOWN) {
        stamp_client_close(&v->client);
        return rc != 0 ? rc : ERR_CANCELED;
    }
    return 0;
}

static int read_blocks(struct verify *v, uint64_t block, uint32_t count, struct err *e)
{
    uint32_t error;

    for (;;) {
        if (v->client.fd < 0) {
            int rc = stamp_connect(&v->client, v->o, e);

            if (rc != 0) {
                return rc;
            }
        }
        if (read_once(v, block, count, &error) == 0) {
            break;
        }
        if (atomic_load(v->o->stop)) {
            return err_set(e, ERR_CANCELED, "stopped");
        }
    }
    return error == 0 ? 0
                      : err_say(e, ERR_REMOTE, "read of block %" PRIu64 ": NBD error %" PRIu32,
                                block, error);
}

static void judge(struct verify *v, uint64_t index, const uint8_t *data)
{
    const struct stamp_block *known = &v->table.blocks[index];
    uint64_t block = v->table.header->first_block + index;
    uint64_t floor = v->o->only_flushed ? known->flushed : known->acked;
    uint64_t found;
    enum stamp_verdict verdict =
        stamp_judge(data, v->table.header->seed, block, floor, known->attempted, &found);
    uint64_t bad = 0;

    v->counts[verdict]++;
    v->unacked += known->acked == 0;
    for (int i = STAMP_GOOD + 1; i < STAMP_VERDICTS; i++) {
        bad += v->counts[i];
    }
    if (verdict != STAMP_GOOD && bad <= OFFENDERS_MAX) {
        fprintf(stderr,
                "block %" PRIu64 ": %s: found %" PRIu64 ", attempted %" PRIu64 ", acked %" PRIu64
                ", flushed %" PRIu64 "\n",
                block, verdict_names[verdict], found, known->attempted, known->acked,
                known->flushed);
    }
}

static int verify_all(struct verify *v, struct err *e)
{
    const struct stamp_header *h = v->table.header;

    for (uint64_t at = 0; at < h->block_count; at += CHUNK_BLOCKS) {
        uint64_t end = h->block_count - at < CHUNK_BLOCKS ? h->block_count : at + CHUNK_BLOCKS;
        bool attempted = false;
        int rc;

        for (uint64_t i = at; i < end; i++) {
            attempted = attempted || v->table.blocks[i].attempted != 0;
        }
        if (!attempted) {
            continue;
        }
        rc = read_blocks(v, h->first_block + at, (uint32_t)(end - at), e);
        if (rc != 0) {
            return rc;
        }
        for (uint64_t i = at; i < end; i++) {
            if (v->table.blocks[i].attempted != 0) {
                judge(v, i, v->data + (i - at) * STAMP_BLOCK_BYTES);
            }
        }
    }
    return 0;
}

int stamp_verify(const struct stamp_options *o)
{
    struct verify v = {.o = o, .client.fd = -1};
    struct err e;
    uint64_t bad;
    int rc = stamp_table_open(&v.table, o->table_path, false, 0, 0, &e);

    if (rc != 0) {
        fprintf(stderr, "nbd_stamp: %s\n", e.msg);
        return 2;
    }
    v.data = mem_alloc((size_t)CHUNK_BLOCKS * STAMP_BLOCK_BYTES);
    rc = verify_all(&v, &e);
    stamp_client_close(&v.client);
    bad = v.counts[STAMP_LOST] + v.counts[STAMP_STALE] + v.counts[STAMP_TORN] +
          v.counts[STAMP_FOREIGN];
    printf("verify: %" PRIu64 " blocks good (%" PRIu64 " never acknowledged), %" PRIu64
           " lost, %" PRIu64 " stale, %" PRIu64 " torn, %" PRIu64 " foreign: %s\n",
           v.counts[STAMP_GOOD], v.unacked, v.counts[STAMP_LOST], v.counts[STAMP_STALE],
           v.counts[STAMP_TORN], v.counts[STAMP_FOREIGN],
           rc != 0 ? e.msg : (bad == 0 ? "ok" : "VIOLATED"));
    stamp_table_close(&v.table);
    free(v.data);
    return rc == 0 && bad == 0 ? 0 : 1;
}
