#include "alba/asd_keys.h"

#include <errno.h>
#include <stdlib.h>

#include "alba/verb.h"
#include "base/mem.h"
#include "wire/asd_msg.h"

int asd_keys_take(struct asd_keys *keys, struct cli *cli, unsigned first)
{
    unsigned count = cli->positional_count - first;

    *keys = (struct asd_keys){.items = mem_array(count, sizeof(*keys->items)),
                              .bytes = mem_array(count, sizeof(*keys->bytes)),
                              .count = count};
    for (unsigned i = 0; i < count; i++) {
        int rc = cli_bytes(cli, cli_arg(cli, first + i), &keys->bytes[i]);

        if (rc == 0 && (keys->bytes[i].len == 0 || keys->bytes[i].len > ASD_KEY_BYTES_MAX)) {
            rc = err_say(&cli->err, -EINVAL, "a key has 1 to %d bytes, not %zu", ASD_KEY_BYTES_MAX,
                         keys->bytes[i].len);
        }
        if (rc != 0) {
            return rc;
        }
        keys->items[i] = slice_buf(&keys->bytes[i]);
    }
    return 0;
}

void asd_keys_release(struct asd_keys *keys)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        buf_release(&keys->bytes[i]);
    }
    free(keys->items);
    free(keys->bytes);
    *keys = (struct asd_keys){0};
}
