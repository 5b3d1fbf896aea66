#include "alba/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int size_parse(const char *text, uint64_t *ret_bytes, struct err *e)
{
    static const char units[] = "KMGTP";
    char *end;
    const char *unit;
    unsigned long long value;
    unsigned shift = 0;

    errno = 0;
    value = strtoull(text, &end, 10);
    unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        shift = 10 * (unsigned)(unit - units + 1);
        end += strcmp(end + 1, "iB") == 0 || strcmp(end + 1, "B") == 0 ? strlen(end) : 1;
    }
    if (errno != 0 || text[0] == '-' || end == text || *end != '\0' || value == 0 ||
        value > UINT64_MAX >> shift) {
        return err_say(e, -EINVAL, "size '%s': want bytes, or a number with KiB … PiB", text);
    }
    *ret_bytes = (uint64_t)value << shift;
    return 0;
}
