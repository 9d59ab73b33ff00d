/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vpfctl's command tree: one table says what a command is called, what it takes and what it does; parsing,
 * help, suggestions and shell completion are derived from it.
 *
 * Arguments are checked for syntax only: whether a number is a number, not whether it is in range. What they
 * mean is up to vpfd, so that one place refuses and each error has one wording; its answer names the
 * parameter, and invocation_arg_for_field() turns that back into what the user typed.
 *
 * Thread-safety: single-threaded. The tables are constant. */

#include <jansson.h>

#include "util/err.h"

struct ctl;
struct out;
struct invocation;

/* What completion can offer as a value. */
enum complete {
	COMPLETE_NOTHING,
	COMPLETE_WORDS, /* arg.words */
	COMPLETE_LIST,  /* several of arg.words, separated by commas */
	COMPLETE_FILE,
	COMPLETE_FABRIC, /* vpfd is asked, as for the next two */
	COMPLETE_PF,
	COMPLETE_FUNCTION, /* of the virtual PF named before */
	COMPLETE_UPLINK,
	COMPLETE_NETDEV,
	COMPLETE_FABRIC_TYPE,
	COMPLETE_DATAPATHS, /* types with their parameters, separated by commas */
	COMPLETE_POLICY,
	COMPLETE_COMMAND,
};

enum {
	ARG_REQUIRED = 1 << 0,
	ARG_REPEAT = 1 << 1, /* may be given several times, the values make an array; positional: takes all
				that follow */
};

/* An option ("--vlan") or, if the name does not start with a dash, a positional argument ("PF"). */
struct arg {
	const char *name;
	char letter;        /* short form of an option; 0: none */
	unsigned int flags; /* ARG_… */
	const char *value;  /* what the value of an option is called in help; NULL: the option is a flag */
	const char *param;  /* API parameter that it sets; NULL: meant for vpfctl itself */
	/* Turns the text into the value; NULL: a flag is true, anything else a string. Fails with -EINVAL and
	 * a sentence. */
	int (*parse)(const char *text, json_t **ret, struct err *err);
	enum complete complete;
	const char *const *words; /* COMPLETE_WORDS: the values, up to a NULL */
	const char *null;         /* the word for JSON's null, for vpfd's errors; NULL: it has none */
	const char *help;
	char *(*make_help)(void); /* instead of help: what the tables of types say; NULL: out of memory */
};

struct example {
	const char *command; /* without "vpfctl " */
	const char *what;
};

struct command {
	const char *name;
	const char *summary;            /* one line */
	const char *about;              /* paragraphs, separated by an empty line; wrapped when printed */
	const struct example *examples; /* up to one without command */
	const struct command *sub; /* up to one without name; a command has either these or args and run() */
	const struct arg *args;    /* positional ones first, up to one without name */
	const struct arg *(*make_args)(void); /* instead of args: with options that the tables of types say */
	bool changes;                         /* of no use without an option that sets a parameter */
	const char *method;                   /* of the API, for run_method() */
	/* Negative errno with `err` filled on failure. */
	int (*run)(struct ctl *ctl, const struct invocation *inv, struct err *err);
	void (*print)(struct out *out, const json_t *result); /* a result as text; NULL: prints nothing */
};

#define COMMAND_DEPTH 3
#define COMMAND_GIVEN 64

/* A parsed command line. */
struct invocation {
	const struct command *path[COMMAND_DEPTH]; /* [0] is the root */
	unsigned int depth;                        /* ≥ 1 */
	json_t *params;                            /* for the API */
	json_t *local;                             /* for vpfctl itself: name of the argument → value */
	const struct arg *given[COMMAND_GIVEN];    /* what the command line had, in order */
	unsigned int given_n;
};

extern const struct arg global_args[]; /* options of every command */
extern const struct command command_root;

/* Fills *ret from these words (without the program's name). Call invocation_free() also after a failure: *ret
 * then holds what was parsed up to there. -EINVAL with a sentence in `err`, -ENOMEM. With --help nothing else
 * is required. */
int command_parse(const struct command *root, int argc, char *const argv[], struct invocation *ret,
		  struct err *err);
void invocation_free(struct invocation *inv);

static inline const struct command *invocation_command(const struct invocation *inv)
{
	return inv->path[inv->depth - 1];
}

/* The value given for one of vpfctl's own arguments, borrowed; NULL: not given. */
json_t *invocation_local(const struct invocation *inv, const char *arg);
bool invocation_flag(const struct invocation *inv, const char *arg);

/* The argument that sets the API parameter `field` ("vlan.vid" → --vlan); if there are several, one that was
 * given; NULL: none. */
const struct arg *invocation_arg_for_field(const struct invocation *inv, const char *field);

const struct command *command_find(const struct command *parent, const char *name);
/* Finds an option of `cmd` (NULL: none yet) or a global one. `len`: length of the name; "=…" may follow
 * it. */
const struct arg *command_find_option(const struct command *cmd, const char *name, size_t len);

static inline const struct arg *command_args(const struct command *cmd)
{
	return cmd->make_args ? cmd->make_args() : cmd->args;
}

static inline bool arg_is_option(const struct arg *arg)
{
	return arg->name[0] == '-';
}

/* Calls cmd->method with the parameters and prints the result: what most commands do. */
int run_method(struct ctl *ctl, const struct invocation *inv, struct err *err);
