/* A value that comes with a checksum is compared with it before it becomes visible: what was
 * damaged on its way here is refused, instead of being kept under a CRC of ours. CRC-32C costs
 * nothing, as it is taken anyway; a SHA-1 about a millisecond per MiB. */
#include "asd/commit_private.h"
#include "asd/sums.h"
#include "wire/asd_msg.h"

int commit_checksum(const struct commit_batch *b, const struct asd_update *u, uint32_t crc,
                    struct err *e)
{
    char key[ASD_KEY_TEXT_BYTES];

    if (!atomic_load(&b->store->verify_checksums) || asd_checksum_ok(&u->checksum, u->value, crc)) {
        return 0;
    }
    asd_key_text(u->key, key);
    return err_set(e, ERR_CHECKSUM, "value of key \"%s\" as it was sent, %s", key,
                   checksum_algo_show_name(u->checksum.algo));
}
