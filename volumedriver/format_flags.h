/* Flags that this version does not know, by class (FORMAT.md). It knows none yet. Any thread. */
#ifndef VOLUMEDRIVER_FORMAT_FLAGS_H
#define VOLUMEDRIVER_FORMAT_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#define FORMAT_FLAGS_REFUSE UINT32_C(0x0000ffff)
#define FORMAT_FLAGS_READ_ONLY UINT32_C(0x00ff0000)

/* What holds it may be read … */
static inline bool format_flags_readable(uint32_t flags)
{
    return (flags & FORMAT_FLAGS_REFUSE) == 0;
}

/* … and replaced, or added to. */
static inline bool format_flags_writable(uint32_t flags)
{
    return (flags & (FORMAT_FLAGS_REFUSE | FORMAT_FLAGS_READ_ONLY)) == 0;
}

#endif
