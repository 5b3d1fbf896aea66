/* The crash disk's names: what calls see, what is durable, and the creates, renames,
 * unlinks and mkdirs between the two. No locks; crash_disk.c has those. */
#ifndef TESTS_LIB_CRASH_TREE_H
#define TESTS_LIB_CRASH_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/io.h"

#include "lib/crash_file.h"

struct crash_names; /* entries of a directory */

struct crash_node {
    struct list link; /* in crash_tree.nodes, oldest first */
    bool is_dir;
    bool linked; /* has a name that calls see */
    bool marked;
    unsigned open_count; /* descriptors; keeps it alive */
    struct crash_file *file;
    struct crash_names *now, *durable; /* directories only */
};

struct crash_tree {
    struct list nodes;
    struct list changes; /* un-synced, oldest first */
    struct crash_node *root;
};

void crash_tree_init(struct crash_tree *t);
void crash_tree_release(struct crash_tree *t);

/* NULL when absent. */
struct crash_node *crash_tree_find(struct crash_tree *t, const char *path);
/* The directory that `path` lies in (NULL when absent) and its last part. */
struct crash_node *crash_tree_parent(struct crash_tree *t, const char *path, const char **ret_name);
bool crash_tree_is_empty(const struct crash_node *dir);
void crash_tree_list(const struct crash_node *dir, struct buf *names_nul_terminated);

/* `path` has a parent and no node (create), or a node (unlink, rename). */
struct crash_node *crash_tree_create(struct crash_tree *t, uint64_t seq, const char *path,
                                     bool is_dir);
void crash_tree_unlink(struct crash_tree *t, uint64_t seq, const char *path);
void crash_tree_rename(struct crash_tree *t, uint64_t seq, const char *from, const char *to);

/* Names in `dir` become durable, with what they depend on. */
void crash_tree_sync(struct crash_tree *t, struct crash_node *dir);
void crash_tree_list_changes(const struct crash_tree *t, struct buf *seqs);
/* Power loss, for names and for files. */
void crash_tree_settle(struct crash_tree *t, const struct crash_choice *choice);
/* Free what has no name, no descriptor and no un-synced change. */
void crash_tree_collect(struct crash_tree *t);

#endif
