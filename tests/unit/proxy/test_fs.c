#include <dirent.h>
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

#include "base/mem.h"
#include "lib/tempdir.h"
#include "proxy/fs.h"

struct fixture {
    char *dir;
    char *allowed; /* dir/in */
    const char *dirs[1];
    struct fs_rules rules;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    char *in;
    struct err e;

    f->dir = tempdir_make();
    in = tempdir_path(f->dir, "in");
    assert_int_equal(mkdir(in, 0700), 0);
    assert_int_equal(fs_dir_check(in, &f->allowed, &e), 0);
    free(in);
    f->dirs[0] = f->allowed;
    f->rules = (struct fs_rules){.dirs = f->dirs, .dir_count = 1};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tempdir_remove(f->dir);
    free(f->allowed);
    free(f);
    return 0;
}

static int open_read(struct fixture *f, const char *dir, const char *name)
{
    char *path = mem_printf("%s/%s", dir, name);
    struct err e;
    uint64_t bytes;
    int fd = -1;
    int rc = fs_open_read(&f->rules, slice_str(path), &fd, &bytes, &e);

    if (rc == 0) {
        close(fd);
    }
    free(path);
    return rc;
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    free(path);
}

static unsigned count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned count = 0;

    while (readdir(d) != NULL) {
        count++;
    }
    closedir(d);
    return count - 2;
}

static void only_regular_files_below_the_directories_are_read(void **state)
{
    struct fixture *f = *state;
    char *outside = mem_printf("%s/secret", f->dir);
    char *link = mem_printf("%s/link", f->allowed);
    char *sibling = mem_printf("%s/in-other", f->dir);

    write_text(f->allowed, "a", "x");
    write_text(f->dir, "secret", "x");
    assert_int_equal(mkdir(sibling, 0700), 0);
    write_text(sibling, "a", "x");
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(open_read(f, f->allowed, "a"), 0);
    assert_int_equal(open_read(f, f->allowed, "nonesuch"), -ENOENT);
    assert_int_equal(open_read(f, f->allowed, "link"), -EACCES);
    assert_int_equal(open_read(f, f->allowed, "../secret"), -EACCES);
    assert_int_equal(open_read(f, f->dir, "secret"), -EACCES);
    assert_int_equal(open_read(f, sibling, "a"), -EACCES); /* only the start of the name fits */
    assert_int_equal(open_read(f, f->allowed, "."), -EINVAL);
    assert_int_equal(open_read(f, f->allowed, "none/deeper/nonesuch"), -ENOENT);
    assert_int_equal(open_read(f, f->allowed, "../nonesuch"), -EACCES); /* not told */
    assert_int_equal(open_read(f, f->dir, "none/deeper/nonesuch"), -EACCES);
    assert_int_equal(open_read(f, "", "nonesuch"), -EACCES);
    assert_int_equal(open_read(f, "//", "nonesuch"), -EACCES);
    f->rules.dir_count = 0;
    assert_int_equal(open_read(f, f->allowed, "a"), -EACCES);
    free(outside);
    free(link);
    free(sibling);
}

static void a_written_file_appears_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    char *path = mem_printf("%s/out", f->allowed);
    struct fs_file file;
    struct err e;

    write_text(f->allowed, "out", "before");
    assert_int_equal(fs_file_create(&f->rules, slice_str(path), &file, &e), 0);
    assert_int_equal(fs_file_write(&file, "after", 5, 0, &e), 0);
    fs_file_close(&file); /* given up */
    assert_int_equal(count_entries(f->allowed), 1);
    assert_int_equal(fs_file_create(&f->rules, slice_str(path), &file, &e), 0);
    assert_int_equal(fs_file_write(&file, "ter", 3, 2, &e), 0);
    assert_int_equal(fs_file_write(&file, "af", 2, 0, &e), 0);
    assert_int_equal(fs_file_commit(&file, &e), 0);
    fs_file_close(&file);
    assert_int_equal(count_entries(f->allowed), 1);
    {
        char text[16] = {0};
        FILE *in = fopen(path, "r");

        assert_non_null(in);
        assert_int_equal(fread(text, 1, sizeof(text), in), 5);
        fclose(in);
        assert_string_equal(text, "after");
    }
    free(path);
}

static void files_are_not_written_elsewhere(void **state)
{
    struct fixture *f = *state;
    char *outside = mem_printf("%s/out", f->dir);
    char *dots = mem_printf("%s/../out", f->allowed);
    char *directory = mem_printf("%s/..", f->allowed);
    char *missing = mem_printf("%s/none/out", f->allowed);
    struct fs_file file;
    struct err e;

    assert_int_equal(fs_file_create(&f->rules, slice_str(outside), &file, &e), -EACCES);
    assert_int_equal(fs_file_create(&f->rules, slice_str(dots), &file, &e), -EACCES);
    assert_int_equal(fs_file_create(&f->rules, slice_str(directory), &file, &e), -EINVAL);
    assert_int_equal(fs_file_create(&f->rules, slice_str(missing), &file, &e), -ENOENT);
    assert_int_equal(fs_file_create(&f->rules, slice_str("relative"), &file, &e), -EINVAL);
    assert_int_equal(fs_file_create(&f->rules, slice_of("/tmp\0x", 6), &file, &e), -EINVAL);
    assert_int_equal(count_entries(f->dir), 1);
    free(outside);
    free(dots);
    free(directory);
    free(missing);
}

static void bad_directories_are_named_at_the_start(void **state)
{
    struct fixture *f = *state;
    char *path = tempdir_path(f->dir, "file");
    char *real;
    struct err e;

    write_text(f->dir, "file", "x");
    assert_int_equal(fs_dir_check("relative", &real, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "relative"));
    assert_int_equal(fs_dir_check("/nonesuch-dir", &real, &e), -ENOENT);
    assert_int_equal(fs_dir_check(path, &real, &e), ERR_CONFIG);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_regular_files_below_the_directories_are_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_written_file_appears_whole_or_not_at_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(files_are_not_written_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_directories_are_named_at_the_start, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
