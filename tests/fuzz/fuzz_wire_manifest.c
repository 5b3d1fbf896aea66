/* Manifests and recovery infos: the first byte says how deep the bytes go in (see remake.h). */
#include "unit/wire/remake.h"

enum { RECORD = 0, INNER_V1, INNER_V2, BODY_V3, RECOVERY_RECORD, RECOVERY_BODY, PLACES };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buf again = {0};
    struct rd r;

    if (bytes == 0) {
        return 0;
    }
    r = rd_of(data + 1, bytes - 1);
    switch (data[0] % PLACES) {
    case RECORD:
        (void)remake_manifest(3, r, &again);
        break;
    case INNER_V1:
        (void)remake_inner(1, r, &again);
        break;
    case INNER_V2:
        (void)remake_inner(2, r, &again);
        break;
    case BODY_V3:
        (void)remake_body(3, r, &again);
        break;
    case RECOVERY_RECORD:
        (void)remake_recovery_info(0, r, &again);
        break;
    default:
        (void)remake_body(64, r, &again);
    }
    buf_release(&again);
    return 0;
}
