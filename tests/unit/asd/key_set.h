/* Values under numbered keys, small and large, no two alike: put, and read again. */
#ifndef UNIT_ASD_KEY_SET_H
#define UNIT_ASD_KEY_SET_H

#include "fault/asd_fixture.h"

enum { KEY_SET_COUNT = 30, KEY_SET_BYTES = 300000 /* that `large` has at least */ };

const char *key_set_key(unsigned i); /* until the next call */
/* Every third one is small, the others lie in a slab. */
size_t key_set_bytes(unsigned i);
/* Value i is what `large` holds from i on. */
void key_set_put(struct asd_fixture *f, const uint8_t *large);
/* 0, or what reading it gave; a value that is not what was put fails the test. */
int key_set_get(struct asd_fixture *f, const uint8_t *large, unsigned i);
void key_set_expect(struct asd_fixture *f, const uint8_t *large);

#endif
