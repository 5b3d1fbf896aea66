/* Requests to an ASD, version 2 form; a first byte of 1 takes the rest as version 1. */
#include "base/check.h"
#include "unit/wire/remake.h"
#include "wire/asd_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buf once = {0};
    struct buf twice = {0};
    struct asd_request request;
    struct err e;
    uint32_t id;

    if (bytes > 0 && data[0] == ASD_VERSION_1) {
        if (asd_request_decode(rd_of(data + 1, bytes - 1), ASD_VERSION_1, &id, &request, &e) == 0) {
            asd_request_release(&request);
        }
        return 0;
    }
    if (remake_asd_request(0, rd_of(data, bytes), &once) == 0) {
        CHECK(remake_asd_request(0, rd_of(once.data, once.len), &twice) == 0);
        CHECK(slice_eq(slice_buf(&once), slice_buf(&twice)));
    }
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
