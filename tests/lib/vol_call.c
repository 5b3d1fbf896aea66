#include "lib/vol_call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

void vol_call_done(struct volume_req *req, int rc)
{
    struct vol_call *c = container_of(req, struct vol_call, req);

    c->rc = rc;
    c->done = true;
}

int vol_call_wait(struct vol_node *n, struct vol_call *c, int rc)
{
    uint64_t end = clock_mono_ms() + VOL_CALL_WAIT_MS;

    assert_false(c->done);
    while (rc == 0 && !c->done) {
        assert_true(clock_mono_ms() < end);
        vol_node_turn(n, true);
    }
    return rc != 0 ? rc : c->rc;
}

int vol_put(struct vol_node *n, uint64_t offset, uint8_t byte, size_t bytes, unsigned flags)
{
    uint8_t *data = mem_alloc(bytes);
    struct iovec iov = {.iov_base = data, .iov_len = bytes};
    struct vol_call c = {0};
    int rc;

    memset(data, byte, bytes);
    rc = vol_call_wait(n, &c,
                       volume_write(n->volume, &c.req, offset, &iov, 1, flags, vol_call_done));
    free(data);
    return rc;
}

void vol_expect(struct vol_node *n, uint64_t offset, uint8_t byte, size_t bytes)
{
    uint8_t *data = mem_alloc(bytes);

    memset(data, ~byte, bytes);
    assert_int_equal(vol_read(n, offset, data, bytes), 0);
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(data[i], byte);
    }
    free(data);
}
