/* What a word of a command line stands for, as its name in the verb table tells. Any thread. */
#ifndef ALBA_WORDS_H
#define ALBA_WORDS_H

#include <stddef.h>

struct verb;
struct verb_option;

enum { WORD_BYTES_MAX = 64 };

/* "file", "dir", or what the registry knows: "namespace", "preset", "osd", "volume", "host",
 * "daemon"; "words:a,b" for one of those; "" for what nobody can list. */
const char *word_kind_of_option(const struct verb *verb, const struct verb_option *option);
const char *word_kind_of_positional(const struct verb *verb, const char *word);
/* The next of "NAMESPACE [NAME…]", without what is around it: copied; NULL behind the last. */
const char *word_next(const char *positionals, char ret_word[WORD_BYTES_MAX]);

#endif
