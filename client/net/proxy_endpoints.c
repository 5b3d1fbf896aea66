#include "net/proxy_endpoints.h"

#include "base/check.h"
#include "base/clock.h"

enum { BACK_OFF_MS_MIN = 250, BACK_OFF_MS_MAX = 10000 };

void proxy_endpoints_init(struct proxy_endpoints *e, const struct net_addr *addrs, unsigned count)
{
    CHECK(count > 0 && count <= PROXY_CLIENT_ENDPOINTS_MAX);
    *e = (struct proxy_endpoints){.count = count};
    for (unsigned i = 0; i < count; i++) {
        e->items[i].addr = addrs[i];
    }
}

void proxy_endpoints_worked(struct proxy_endpoints *e, unsigned index)
{
    e->items[index].back_off_ms = 0;
    e->items[index].set_aside_until_ms = 0;
    e->preferred = index;
}

void proxy_endpoints_failed(struct proxy_endpoints *e, unsigned index)
{
    unsigned before_ms = e->items[index].back_off_ms;
    unsigned now_ms = before_ms == 0                    ? BACK_OFF_MS_MIN
                      : before_ms < BACK_OFF_MS_MAX / 2 ? 2 * before_ms
                                                        : BACK_OFF_MS_MAX;

    e->items[index].back_off_ms = now_ms;
    e->items[index].set_aside_until_ms = clock_mono_ms() + now_ms;
}

int proxy_endpoints_pick(const struct proxy_endpoints *e, uint32_t tried)
{
    uint64_t now_ms = clock_mono_ms();
    int second_choice = -1;

    for (unsigned i = 0; i < e->count; i++) {
        unsigned index = (e->preferred + i) % e->count;

        if (tried & UINT32_C(1) << index) {
            continue;
        }
        if (e->items[index].set_aside_until_ms <= now_ms) {
            return (int)index;
        }
        if (second_choice < 0) {
            second_choice = (int)index;
        }
    }
    return second_choice;
}

bool proxy_endpoints_all_tried(const struct proxy_endpoints *e, uint32_t tried)
{
    return tried == (UINT64_C(1) << e->count) - 1;
}

const char *proxy_endpoints_text(const struct proxy_endpoints *e, unsigned index)
{
    return e->items[index].addr.text;
}
