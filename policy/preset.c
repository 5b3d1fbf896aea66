#include "policy/preset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "policy/fragment0.h"

static const struct preset preset_common = {
    .codec = COMPRESS_LZ4,
    .fragment_checksum = PRESET_CHECKSUM_CRC32C,
    .cipher = CIPHER_NONE,
    .object_checksums_allowed =
        1u << PRESET_CHECKSUM_NONE | 1u << PRESET_CHECKSUM_SHA1 | 1u << PRESET_CHECKSUM_CRC32C,
    .object_checksum = PRESET_CHECKSUM_CRC32C,
    .verify_upload = true,
    .in_use = true,
    .version = -1,
};

void preset_init_default(struct preset *p)
{
    *p = preset_common;
    p->name = mem_strdup("default");
    p->policies[0] = (struct preset_policy){5, 4, 8, 3};
    p->policies[1] = (struct preset_policy){2, 2, 3, 4};
    p->policy_count = 2;
    p->fragment_bytes = 1 << 20;
}

void preset_init_volumes(struct preset *p, const char *name)
{
    *p = preset_common;
    p->name = mem_strdup(name);
    p->policies[0] = (struct preset_policy){4, 2, 6, 2};
    p->policies[1] = (struct preset_policy){4, 2, 5, 2};
    p->policies[2] = (struct preset_policy){4, 2, 4, 2};
    p->policy_count = 3;
    p->fragment_bytes = 4 << 20;
}

void preset_copy(struct preset *to, const struct preset *from)
{
    *to = *from;
    to->name = mem_strdup(from->name);
    if (from->osd_ids != NULL) {
        to->osd_ids = mem_dup(from->osd_ids, from->osd_id_count * sizeof(from->osd_ids[0]));
    }
}

void preset_set_name(struct preset *p, const char *name)
{
    char *copy = mem_strdup(name);

    free(p->name);
    p->name = copy;
}

void preset_release(struct preset *p)
{
    free(p->name);
    free(p->osd_ids);
    *p = (struct preset){0};
}

static int policy_validate(const struct preset_policy *policy, uint32_t index, struct err *e)
{
    uint32_t fragments = policy->k + policy->m;

    if (policy->k < 1 || policy->k > PRESET_K_MAX) {
        return err_set(e, ERR_CONFIG, "policies[%" PRIu32 "]: k = %" PRIu32 ", must be 1 to %d",
                       index, policy->k, PRESET_K_MAX);
    }
    if (policy->m > PRESET_M_MAX) {
        return err_set(e, ERR_CONFIG, "policies[%" PRIu32 "]: m = %" PRIu32 ", must be 0 to %d",
                       index, policy->m, PRESET_M_MAX);
    }
    if (policy->min_fragments < policy->k || policy->min_fragments > fragments) {
        return err_set(e, ERR_CONFIG,
                       "policies[%" PRIu32 "]: min_fragment_count = %" PRIu32
                       ", must be k to k + m (%" PRIu32 " to %" PRIu32 ")",
                       index, policy->min_fragments, policy->k, fragments);
    }
    if (policy->max_per_node < 1 || policy->max_per_node > PRESET_PER_NODE_MAX) {
        return err_set(e, ERR_CONFIG,
                       "policies[%" PRIu32 "]: max_disks_per_node = %" PRIu32 ", must be 1 to %d",
                       index, policy->max_per_node, PRESET_PER_NODE_MAX);
    }
    return 0;
}

static int checksums_validate(const struct preset *p, struct err *e)
{
    if (p->object_checksums_allowed == 0) {
        return err_set(e, ERR_CONFIG, "object_checksum.allowed is empty");
    }
    if (!preset_allows_checksum(p, p->object_checksum)) {
        return err_set(e, ERR_CONFIG, "object_checksum.default is not among the allowed ones");
    }
    return 0;
}

static int osds_validate(const struct preset *p, struct err *e)
{
    if (p->osd_id_count > PRESET_OSDS_MAX) {
        return err_set(e, ERR_CONFIG, "osds: %" PRIu32 " ids, at most %d", p->osd_id_count,
                       PRESET_OSDS_MAX);
    }
    for (uint32_t i = 1; i < p->osd_id_count; i++) {
        if (p->osd_ids[i] <= p->osd_ids[i - 1]) {
            return err_set(e, ERR_CONFIG, "osds: id %" PRIu64 " is there twice", p->osd_ids[i]);
        }
    }
    return 0;
}

static int fragment_validate(const struct preset *p, struct err *e)
{
    uint32_t n = p->fragment_bytes;

    if (p->fragment_checksum != PRESET_CHECKSUM_CRC32C &&
        p->fragment_checksum != PRESET_CHECKSUM_SHA1) {
        return err_set(e, ERR_CONFIG, "fragment_checksum: every read is checked, so there is one");
    }
    if (preset_fragment_format(p) == 0 &&
        (!compress_whole_is_known(p->codec) || cipher_is_aead(p->cipher))) {
        return err_say(
            e, ERR_CONFIG,
            "compression = \"%s\" and fragment_encryption = [\"%s\"] do not go together: "
            "aes-cbc-256 wants none, snappy or bz2; these two none, aes-ctr-256 or "
            "aes-cbc-256",
            compress_name(p->codec), cipher_name(p->cipher));
    }
    if (preset_fragment_format(p) == 0 &&
        (n < PRESET_FRAGMENT0_BYTES_MIN || n > PRESET_FRAGMENT_BYTES_MAX)) {
        return err_set(e, ERR_CONFIG, "fragment_size = %" PRIu32 ", must be %d to %d", n,
                       PRESET_FRAGMENT0_BYTES_MIN, PRESET_FRAGMENT_BYTES_MAX);
    }
    if (preset_fragment_format(p) == 1 &&
        (n < PRESET_FRAGMENT_BYTES_STEP || n > PRESET_FRAGMENT_BYTES_MAX ||
         n % PRESET_FRAGMENT_BYTES_STEP != 0)) {
        return err_set(e, ERR_CONFIG,
                       "fragment_size = %" PRIu32 ", must be a multiple of %d, at most %d", n,
                       PRESET_FRAGMENT_BYTES_STEP, PRESET_FRAGMENT_BYTES_MAX);
    }
    return 0;
}

int preset_validate(const struct preset *p, struct err *e)
{
    json_t *name = json_string(p->name);
    int rc;

    if (name == NULL) {
        return err_set(e, ERR_CONFIG, "name is not UTF-8");
    }
    json_decref(name);
    if (strlen(p->name) > PRESET_NAME_BYTES_MAX) {
        return err_set(e, ERR_CONFIG, "name of %zu bytes, at most %d", strlen(p->name),
                       PRESET_NAME_BYTES_MAX);
    }
    if (p->policy_count < 1 || p->policy_count > PRESET_POLICIES_MAX) {
        return err_set(e, ERR_CONFIG, "policies: %" PRIu32 " entries, must be 1 to %d",
                       p->policy_count, PRESET_POLICIES_MAX);
    }
    for (uint32_t i = 0; i < p->policy_count; i++) {
        rc = policy_validate(&p->policies[i], i, e);
        if (rc != 0) {
            return rc;
        }
    }
    rc = fragment_validate(p, e);
    if (rc != 0) {
        return rc;
    }
    rc = osds_validate(p, e);
    if (rc != 0) {
        return rc;
    }
    return checksums_validate(p, e);
}

unsigned preset_fragment_format(const struct preset *p)
{
    return fragment0_is_for(p->codec, p->cipher) ? 0 : 1;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

bool preset_allows_osd(const struct preset *p, uint64_t osd_id)
{
    return !p->osds_explicit ||
           (p->osd_id_count != 0 && bsearch(&osd_id, p->osd_ids, p->osd_id_count,
                                            sizeof(p->osd_ids[0]), compare_ids) != NULL);
}

uint32_t preset_add_osds(struct preset *p, const uint64_t *osd_ids, uint32_t count)
{
    uint32_t added = 0;

    CHECK(p->osds_explicit);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = p->osd_id_count;

        if (preset_allows_osd(p, osd_ids[i])) {
            continue;
        }
        p->osd_ids = mem_realloc(p->osd_ids, (at + 1) * sizeof(p->osd_ids[0]));
        for (; at > 0 && p->osd_ids[at - 1] > osd_ids[i]; at--) {
            p->osd_ids[at] = p->osd_ids[at - 1];
        }
        p->osd_ids[at] = osd_ids[i];
        p->osd_id_count++;
        added++;
    }
    return added;
}

bool preset_allows_checksum(const struct preset *p, enum preset_checksum algo)
{
    return (p->object_checksums_allowed >> algo & 1) != 0;
}

const char *preset_checksum_name(enum preset_checksum algo)
{
    switch (algo) {
    case PRESET_CHECKSUM_NONE:
        return "none";
    case PRESET_CHECKSUM_SHA1:
        return "sha-1";
    case PRESET_CHECKSUM_CRC32C:
        return "crc-32c";
    }
    CHECK(false);
    return NULL;
}
