/* Requests to a proxy. */
#include "base/check.h"
#include "unit/wire/remake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buf once = {0};
    struct buf twice = {0};

    if (remake_proxy_request(0, rd_of(data, bytes), &once) == 0) {
        CHECK(remake_proxy_request(0, rd_of(once.data, once.len), &twice) == 0);
        CHECK(slice_eq(slice_buf(&once), slice_buf(&twice)));
    }
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
