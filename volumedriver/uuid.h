/* Ids of random bytes, as they stand in every format: of volumes (their UUIDs), of journals, of
 * segments (their salts), of roots. */
#ifndef VOLUMEDRIVER_UUID_H
#define VOLUMEDRIVER_UUID_H

enum {
    UUID_BYTES = 16,
    UUID_HEX_BYTES = 2 * UUID_BYTES + 1 /* as hex digits, with the NUL */
};

#endif
