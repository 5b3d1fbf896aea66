#include "volumedriver/owner.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/hex.h"
#include "volumedriver/format_flags.h"
#include "volumedriver/location.h"
#include "volumedriver/seal.h"

static const uint8_t magic[8] = "ALBAOWN1";

enum { VERSION = 1, FLAGS_AT = 88 };
enum owner_state { OPEN = 0, DRAINED = 1 };

void owner_encode(const struct owner *o, uint8_t ret_bytes[OWNER_BYTES])
{
    CHECK(o->since <= o->epoch && (o->drained || o->last_seq == 0));

    memset(ret_bytes, 0, OWNER_BYTES);
    memcpy(ret_bytes, magic, 8);
    put_u32le(ret_bytes + 8, VERSION);
    memcpy(ret_bytes + 16, o->volume, UUID_BYTES);
    memcpy(ret_bytes + 32, o->journal, UUID_BYTES);
    put_u64le(ret_bytes + 48, o->incarnation);
    put_u64le(ret_bytes + 56, o->epoch);
    put_u64le(ret_bytes + 64, o->since);
    ret_bytes[72] = o->drained ? DRAINED : OPEN;
    put_u64le(ret_bytes + 80, o->last_seq);
    put_u32le(ret_bytes + SEAL_AT, seal_crc(0, ret_bytes, OWNER_BYTES, SEAL_AT));
}

int owner_decode(const uint8_t *data, size_t bytes, const uint8_t volume[UUID_BYTES],
                 struct owner *ret_owner, struct err *e)
{
    uint64_t epoch, since;
    struct owner o = {0};

    if (bytes != OWNER_BYTES || memcmp(data, magic, 8) != 0 ||
        get_u32le(data + SEAL_AT) != seal_crc(0, data, OWNER_BYTES, SEAL_AT)) {
        return err_set(e, ERR_CORRUPT, "owner of the volume");
    }
    if (get_u32le(data + 8) != VERSION || !format_flags_writable(get_u32le(data + FLAGS_AT)) ||
        data[72] > DRAINED) {
        return err_set(e, ERR_VERSION, "owner of the volume has version %" PRIu32,
                       get_u32le(data + 8));
    }
    memcpy(o.volume, data + 16, UUID_BYTES);
    memcpy(o.journal, data + 32, UUID_BYTES);
    o.incarnation = get_u64le(data + 48);
    epoch = get_u64le(data + 56);
    since = get_u64le(data + 64);
    o.drained = data[72] == DRAINED;
    o.last_seq = get_u64le(data + 80);
    if (memcmp(o.volume, volume, UUID_BYTES) != 0) {
        return err_set(e, ERR_CORRUPT, "owner of another volume");
    }
    if (epoch == 0 || epoch > EPOCH_MAX || since == 0 || since > epoch ||
        (!o.drained && o.last_seq != 0)) {
        return err_set(e, ERR_CORRUPT, "owner of the volume: epochs or state");
    }
    o.epoch = (uint32_t)epoch;
    o.since = (uint32_t)since;
    *ret_owner = o;
    return 0;
}

void owner_init(struct owner *o, const uint8_t volume[UUID_BYTES])
{
    *o = (struct owner){.epoch = 1, .since = 1, .drained = true};
    memcpy(o->volume, volume, UUID_BYTES);
}

struct owner owner_drained(const struct owner *o, uint64_t last_seq)
{
    struct owner drained = *o;

    drained.drained = true;
    drained.last_seq = last_seq;
    return drained;
}

int owner_succeed(const struct owner *before, const struct owner_claim *claim,
                  struct owner *ret_after, struct err *e)
{
    bool same = memcmp(before->journal, claim->journal, UUID_BYTES) == 0;
    char id[UUID_HEX_BYTES];

    if (claim->epoch <= before->epoch) {
        return err_set(e, ERR_FENCED, "epoch %" PRIu32 ", the volume has %" PRIu32, claim->epoch,
                       before->epoch);
    }
    if (!before->drained && !claim->accept_loss) {
        if (!same) {
            hex_encode(id, before->journal, UUID_BYTES);
            return err_set(e, ERR_IDENTITY, "the volume's last writes are in journal %s", id);
        }
        /* A journal replays what the incarnation before its own left. */
        if (!claim->wrote_before && claim->incarnation <= before->incarnation) {
            return err_set(e, ERR_STALE,
                           "the journal is an old copy: incarnation %" PRIu64
                           ", the volume was open in %" PRIu64,
                           claim->incarnation, before->incarnation);
        }
    }
    *ret_after = (struct owner){.incarnation = claim->incarnation, .epoch = claim->epoch};
    memcpy(ret_after->volume, before->volume, UUID_BYTES);
    memcpy(ret_after->journal, claim->journal, UUID_BYTES);
    /* Of a drained volume no journal holds anything that counts. */
    ret_after->since = same && !before->drained ? before->since : claim->epoch;
    return 0;
}
