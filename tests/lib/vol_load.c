#include "lib/vol_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "volumedriver/volume.h"

enum { READ_CHUNK = 1048576, IOVECS = 3 };

struct request {
    struct volume_req req;
    struct vol_load *load;
    struct iovec iov[IOVECS];
    uint8_t *data;
    uint32_t id; /* of a write */
    uint64_t sector;
    uint32_t count;
    uint64_t clock;
    bool fua;
};

void vol_load_init(struct vol_load *l, struct vol_node *n, uint64_t bytes, uint64_t seed)
{
    *l = (struct vol_load){
        .node = n, .rnd = rnd_seed(seed), .bytes = bytes, .sectors_max = 2048, .in_flight_max = 12};
    vol_model_init(&l->model, bytes);
}

void vol_load_release(struct vol_load *l)
{
    CHECK(l->in_flight == 0);
    vol_model_release(&l->model);
}

static struct request *request_new(struct vol_load *l)
{
    struct request *r = mem_zalloc(sizeof(*r));

    r->load = l;
    r->clock = l->model.clock;
    l->in_flight++;
    return r;
}

static void request_free(struct request *r)
{
    r->load->in_flight--;
    free(r->data);
    free(r);
}

static void on_write(struct volume_req *req, int rc)
{
    struct request *r = container_of(req, struct request, req);

    struct volume_stats stats;

    if (rc == 0) {
        vol_model_complete(&r->load->model, r->id, r->fua);
        volume_stats(r->load->node->volume, &stats);
        r->load->model.writes[r->id].last_seq = stats.last_seq;
    }
    r->load->failed = r->load->failed || rc != 0;
    request_free(r);
}

static void on_read(struct volume_req *req, int rc)
{
    struct request *r = container_of(req, struct request, req);

    if (rc == 0) {
        vol_model_expect(&r->load->model, r->sector, r->count, r->data);
    }
    vol_model_set_busy(&r->load->model, r->sector, r->count, false);
    r->load->failed = r->load->failed || (rc != 0 && rc != UV_ECONNRESET && rc != ERR_CANCELED);
    request_free(r);
}

static void on_flush(struct volume_req *req, int rc)
{
    struct request *r = container_of(req, struct request, req);

    if (rc == 0) {
        vol_model_flushed(&r->load->model, r->clock);
    }
    r->load->failed = r->load->failed || rc != 0;
    request_free(r);
}

/* Half of the requests are small, half of them whole clusters. */
static void pick(struct vol_load *l, uint64_t *ret_sector, uint32_t *ret_count)
{
    uint64_t max = rnd_below(&l->rnd, 8) == 0 ? l->sectors_max : 1 + rnd_below(&l->rnd, 64);
    uint32_t count = 1 + (uint32_t)rnd_below(&l->rnd, max);
    uint64_t sectors = l->bytes / VOL_SECTOR;

    if (rnd_below(&l->rnd, 2) == 0) {
        count = (count + 7) / 8 * 8;
    }
    *ret_sector = rnd_below(&l->rnd, sectors - count + 1);
    if (count % 8 == 0) {
        *ret_sector = *ret_sector / 8 * 8;
    }
    *ret_count = count;
}

static void split_iov(struct vol_load *l, struct request *r, size_t bytes)
{
    size_t first = rnd_below(&l->rnd, 2) == 0 ? 0 : rnd_below(&l->rnd, bytes);

    r->iov[0] = (struct iovec){.iov_base = r->data, .iov_len = first};
    r->iov[1] = (struct iovec){.iov_base = r->data + first, .iov_len = 0};
    r->iov[2] = (struct iovec){.iov_base = r->data + first, .iov_len = bytes - first};
}

static void submit_write(struct vol_load *l, enum vol_load_kind kind, uint64_t sector,
                         uint32_t count, bool fua)
{
    uint64_t at = sector * VOL_SECTOR, bytes = (uint64_t)count * VOL_SECTOR;
    struct request *r = request_new(l);
    struct volume *v = l->node->volume;
    unsigned flags = fua ? VOLUME_FUA : 0;
    int rc;

    r->fua = fua;
    r->id = vol_model_submit(&l->model, sector, count, kind != VOL_LOAD_WRITE);
    if (kind == VOL_LOAD_TRIM) {
        rc = volume_trim(v, &r->req, at, bytes, flags, on_write);
    } else if (kind == VOL_LOAD_ZERO) {
        rc = volume_write_zeroes(v, &r->req, at, bytes, flags, on_write);
    } else {
        r->data = mem_alloc(bytes);
        vol_model_content(&l->model, r->id, r->data);
        split_iov(l, r, bytes);
        rc = volume_write(v, &r->req, at, r->iov, IOVECS, flags, on_write);
    }
    if (rc != 0) {
        on_write(&r->req, rc);
    }
}

static void submit_read(struct vol_load *l, uint64_t sector, uint32_t count)
{
    size_t bytes = (size_t)count * VOL_SECTOR;
    struct request *r = request_new(l);
    int rc;

    r->sector = sector;
    r->count = count;
    r->data = mem_alloc(bytes);
    memset(r->data, 0xee, bytes);
    vol_model_set_busy(&l->model, sector, count, true);
    split_iov(l, r, bytes);
    rc = volume_read(l->node->volume, &r->req, sector * VOL_SECTOR, r->iov, IOVECS, on_read);
    if (rc != 0) {
        on_read(&r->req, rc);
    }
}

static void submit_flush(struct vol_load *l)
{
    struct request *r = request_new(l);
    int rc = volume_flush(l->node->volume, &r->req, on_flush);

    if (rc != 0) {
        on_flush(&r->req, rc);
    }
}

void vol_load_submit(struct vol_load *l, enum vol_load_kind kind, uint64_t sector, uint32_t count,
                     bool fua)
{
    if (kind == VOL_LOAD_FLUSH) {
        submit_flush(l);
    } else {
        submit_write(l, kind, sector, count, fua);
    }
}

static void submit_random(struct vol_load *l, uint64_t sector, uint32_t count)
{
    unsigned dice = (unsigned)rnd_below(&l->rnd, 10);
    bool fua = rnd_below(&l->rnd, 12) == 0 && !l->never_flush;

    submit_write(l,
                 dice == 0   ? VOL_LOAD_TRIM
                 : dice == 1 ? VOL_LOAD_ZERO
                             : VOL_LOAD_WRITE,
                 sector, count, fua);
}

void vol_load_step(struct vol_load *l)
{
    unsigned dice = (unsigned)rnd_below(&l->rnd, 20);
    uint64_t sector;
    uint32_t count;

    if (l->in_flight < l->in_flight_max) {
        pick(l, &sector, &count);
        if (dice == 0 && !l->never_flush) {
            submit_flush(l);
        } else if (vol_model_is_free(&l->model, sector, count)) {
            if (dice < 6) {
                submit_read(l, sector, count);
            } else {
                submit_random(l, sector, count);
            }
        }
        vol_node_turn(l->node, false);
    } else {
        vol_node_turn(l->node, true);
    }
}

static bool is_settled(void *ctx)
{
    return ((const struct vol_load *)ctx)->in_flight == 0;
}

void vol_load_settle(struct vol_load *l)
{
    loop_run_until_true(l->node->loop, is_settled, l);
}

void vol_load_image(struct vol_load *l, uint8_t *ret_image)
{
    for (uint64_t at = 0; at < l->bytes; at += READ_CHUNK) {
        int rc, tries = 0;

        do {
            rc = vol_read(l->node, at, ret_image + at, READ_CHUNK);
        } while (rc == UV_ECONNRESET && ++tries < 1000);
        if (rc != 0) {
            fail_msg("reading %llu: %s", (unsigned long long)at, err_text(rc));
        }
    }
}

void vol_load_check(struct vol_load *l, bool journal)
{
    uint8_t *image = mem_alloc(l->bytes);

    vol_load_image(l, image);
    vol_model_check(&l->model, image, journal);
    l->failed = false;
    free(image);
}

void vol_load_upload(struct vol_load *l)
{
    uint64_t clock = l->model.clock;

    if (vol_drain(l->node) == 0) {
        vol_model_uploaded(&l->model, clock);
    }
}
