#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hex.h"
#include "base/mem.h"
#include "lib/tempdir.h"
#include "proxy/key_files.h"

struct fixture {
    char *dir;
    struct key_files files;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    f->dir = tempdir_make();
    key_files_init(&f->files);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    key_files_release(&f->files);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

static char *path_of(const struct fixture *f, const char *name)
{
    return tempdir_path(f->dir, name);
}

/* A key of bytes that are all `byte`; *ret_id is its id. */
static void write_key(const struct fixture *f, const char *name, uint8_t byte, size_t bytes,
                      mode_t mode, uint8_t ret_id[KEY_ID_BYTES])
{
    char *path = path_of(f, name);
    uint8_t key[CIPHER_KEY_BYTES + 1];
    FILE *file = fopen(path, "w");

    memset(key, byte, sizeof(key));
    assert_non_null(file);
    assert_int_equal(fwrite(key, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    key_id_of(ret_id, key);
    free(path);
}

static int set(struct fixture *f, const char *path, struct err *e)
{
    return key_files_set(&f->files, &path, 1, e);
}

static bool knows(struct fixture *f, const uint8_t id[KEY_ID_BYTES])
{
    const struct master_key *key;
    struct err e;

    return key_files_find(&f->files, id, &key, &e) == 0 && memcmp(key->id, id, KEY_ID_BYTES) == 0;
}

static void every_key_of_a_directory_is_found_and_nothing_else_of_it(void **state)
{
    struct fixture *f = *state;
    uint8_t a[KEY_ID_BYTES], b[KEY_ID_BYTES], wide[KEY_ID_BYTES], hidden[KEY_ID_BYTES];
    uint8_t cut[KEY_ID_BYTES];
    char *sub = path_of(f, "sub");
    struct err e;

    write_key(f, "a", 'a', 32, 0600, a);
    write_key(f, "b", 'b', 32, 0400, b);
    write_key(f, "wide", 'w', 32, 0604, wide);
    write_key(f, "long", 'l', 33, 0600, cut);
    write_key(f, ".hidden", 'h', 32, 0600, hidden);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(set(f, f->dir, &e), 0);
    assert_true(knows(f, a) && knows(f, b));
    assert_false(knows(f, wide) || knows(f, hidden) || knows(f, cut));
    free(sub);
}

static void a_key_that_comes_later_is_found_without_a_restart(void **state)
{
    struct fixture *f = *state;
    uint8_t id[KEY_ID_BYTES];
    struct err e;

    assert_int_equal(set(f, f->dir, &e), 0);
    write_key(f, "later", 'z', 32, 0600, id);
    assert_true(knows(f, id));
}

static void directories_are_not_read_for_every_question(void **state)
{
    struct fixture *f = *state;
    uint8_t first[KEY_ID_BYTES], second[KEY_ID_BYTES];
    struct err e;

    assert_int_equal(set(f, f->dir, &e), 0);
    write_key(f, "first", '1', 32, 0600, first);
    f->files.next_look_ms = UINT64_MAX;
    assert_false(knows(f, first));
    f->files.next_look_ms = 0;
    assert_true(knows(f, first));
    write_key(f, "second", '2', 32, 0600, second);
    assert_int_not_equal(f->files.next_look_ms, 0);
}

static void a_file_that_is_named_must_be_a_key_and_says_what_is_wrong(void **state)
{
    static const struct {
        const char *name;
        size_t bytes;
        mode_t mode;
        const char *says;
    } bad[] = {{"group", 32, 0640, "mode 640"},
               {"world", 32, 0604, "mode 604"},
               {"short", 31, 0600, "31 bytes"},
               {"long", 33, 0600, "33 bytes"},
               {"empty", 0, 0600, "0 bytes"}};
    struct fixture *f = *state;
    uint8_t id[KEY_ID_BYTES], good[KEY_ID_BYTES];
    char *path = path_of(f, "good"), *none = path_of(f, "none");
    struct err e;

    write_key(f, "good", 'g', 32, 0600, good);
    assert_int_equal(set(f, path, &e), 0);
    free(path);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        path = path_of(f, bad[i].name);
        write_key(f, bad[i].name, 'x', bad[i].bytes, bad[i].mode, id);
        assert_int_equal(set(f, path, &e), ERR_CONFIG);
        assert_non_null(strstr(e.msg, bad[i].says));
        assert_non_null(strstr(e.msg, path));
        assert_false(knows(f, id));
        free(path);
    }
    assert_int_equal(set(f, none, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, err_text(-ENOENT)));
    assert_int_equal(set(f, "relative", &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "not absolute"));
    assert_true(knows(f, good)); /* what was there before stays */
    free(none);
}

static void a_pipe_is_no_key_and_nobody_waits_for_it(void **state)
{
    struct fixture *f = *state;
    char *path = path_of(f, "pipe");
    struct err e;

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(set(f, path, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "no regular file"));
    free(path);
}

static void keys_in_use_outlive_their_file_and_their_setting(void **state)
{
    struct fixture *f = *state;
    const struct master_key *key, *again;
    uint8_t id[KEY_ID_BYTES];
    char *path = path_of(f, "k");
    struct err e;

    write_key(f, "k", 'k', 32, 0600, id);
    assert_int_equal(set(f, path, &e), 0);
    assert_int_equal(key_files_find(&f->files, id, &key, &e), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(key_files_set(&f->files, NULL, 0, &e), 0);
    assert_int_equal(key_files_find(&f->files, id, &again, &e), 0);
    assert_ptr_equal(again, key);
    assert_int_equal(key->bytes[31], 'k');
    free(path);
}

static void a_key_that_is_not_there_is_named(void **state)
{
    struct fixture *f = *state;
    const struct master_key *key;
    uint8_t id[KEY_ID_BYTES];
    char text[KEY_ID_TEXT_BYTES];
    struct err e;

    memset(id, 0xab, sizeof(id));
    hex_encode(text, id, sizeof(id));
    assert_int_equal(key_files_find(&f->files, id, &key, &e), ERR_KEY);
    assert_non_null(strstr(e.msg, text));
    assert_non_null(strstr(e.msg, "key_files"));
    assert_int_equal(key_files_find(NULL, id, &key, &e), ERR_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_key_of_a_directory_is_found_and_nothing_else_of_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_that_comes_later_is_found_without_a_restart, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(directories_are_not_read_for_every_question, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_named_must_be_a_key_and_says_what_is_wrong,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_pipe_is_no_key_and_nobody_waits_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_in_use_outlive_their_file_and_their_setting, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_key_that_is_not_there_is_named, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
