/* The reply to RangeValidate: which checks an entry passed or failed, and their names. */
#include <stdio.h>

#include "asd/server_private.h"
#include "base/mem.h"

enum { CHECKS_MAX = 2, NAME_BYTES = 128 };

/* Of one entry. */
struct checked {
    struct asd_check checks[CHECKS_MAX];
    char name[NAME_BYTES];
};

static const char *algo_name(uint8_t algo)
{
    return checksum_algo_show_name(algo != 0 ? algo : CHECKSUM_NONE);
}

static bool is_bad(const struct asd_store_entry *from, bool verified)
{
    return from->value.rc != 0 || (from->in_slab && !from->there) || (verified && !from->verified);
}

/* "file_exists" if the value lies in a slab; the checksum's name if it was compared; the name and
 * why not, "CRC32c:…", if it could not be. */
static uint32_t name_checks(const struct asd_store_entry *from, bool verified, struct checked *c)
{
    const char *algo = algo_name(from->value.checksum.algo);
    uint32_t count = 0;

    if (from->in_slab) {
        c->checks[count++] =
            (struct asd_check){.name = slice_str("file_exists"), .ok = from->there};
    }
    if (from->value.rc != 0 && (verified || !from->in_slab)) {
        snprintf(c->name, sizeof c->name, "%s:%s", algo, err_text(from->value.rc));
        c->checks[count++] = (struct asd_check){.name = slice_str(c->name), .ok = false};
    } else if (verified) {
        c->checks[count++] = (struct asd_check){.name = slice_str(algo), .ok = from->verified};
    }
    return count;
}

void asd_server_build_validations(struct asd_server_request *r, struct asd_reply *reply)
{
    const struct asd_store_range *range = &r->range;
    struct asd_validation *items = mem_array(range->entry_count, sizeof *items);
    struct checked *checked = mem_array(range->entry_count, sizeof *checked);
    uint32_t count = 0;

    r->items = items;
    r->more_items = checked;
    for (uint32_t i = 0; i < range->entry_count; i++) {
        const struct asd_store_entry *from = &range->entries[i];

        if (!r->in.show_all && !is_bad(from, r->in.verify_checksum)) {
            continue;
        }
        items[count] = (struct asd_validation){
            .key = from->key,
            .checks = checked[i].checks,
            .check_count = name_checks(from, r->in.verify_checksum, &checked[i])};
        count++;
    }
    reply->validations.items = items;
    reply->validations.count = count;
    reply->validations.has_next = range->more;
    reply->validations.next = range->next;
}
