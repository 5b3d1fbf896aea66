#include "asd/slab_file.h"

#include <inttypes.h>
#include <string.h>

#include "asd/record.h"
#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"

char *asd_slab_path(const struct asd_home *home, uint64_t number)
{
    return mem_printf("%s/%016" PRIx64, home->slabs_path, number);
}

bool asd_slab_name_parse(const char *name, uint64_t *ret_number)
{
    uint8_t be[8];

    if (name[strspn(name, "0123456789abcdef")] != '\0' || hex_decode(be, sizeof(be), name) != 0) {
        return false;
    }
    *ret_number = get_u64be(be);
    return true;
}

int asd_slab_header_check(const struct asd_home *home, int fd, uint64_t number, uint64_t size_bytes,
                          struct err *e)
{
    uint8_t data[ASD_SLAB_HEADER_BYTES];
    struct asd_slab_header h;
    int rc = io_read_full(home->io, fd, data, sizeof(data), 0);

    if (rc != 0) {
        return err_set(e, rc, "its header cannot be read");
    }
    rc = asd_slab_header_decode(data, &h, e);
    if (rc != 0) {
        return rc;
    }
    if (memcmp(h.store_id, home->store_id, ASD_STORE_ID_BYTES) != 0) {
        return err_say(e, ERR_CORRUPT, "it is the slab of another ASD");
    }
    if (h.number != number) {
        return err_say(e, ERR_CORRUPT, "it is slab %" PRIu64 ", by its header", h.number);
    }
    return h.size_bytes == size_bytes
               ? 0
               : err_say(e, ERR_CORRUPT, "its header says %" PRIu64 " bytes, its record %" PRIu64,
                         h.size_bytes, size_bytes);
}

int asd_slab_size_check(const struct asd_home *home, int fd, uint64_t size_bytes, struct err *e)
{
    uint64_t file_bytes = 0;
    int rc = home->io->ops->size(home->io, fd, &file_bytes);

    if (rc != 0) {
        return err_set(e, rc, "size");
    }
    return file_bytes >= size_bytes
               ? 0
               : err_say(e, ERR_CORRUPT, "the file has %" PRIu64 " bytes, its record says %" PRIu64,
                         file_bytes, size_bytes);
}
