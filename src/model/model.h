/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The model: fabrics, virtual PFs and their functions, as set. It checks every change, has the data plane carry it
 * out, saves it to disk, and tells listeners.
 *
 * Theory of operation. Every change goes through the same steps:
 *	1. check everything, alone and beside the rest; an error names the field and what to do;
 *	2. compare, field by field: without a difference that is all;
 *	3. do in the data plane what can fail there;
 *	4. save the new state (see state.h);
 *	5. do in the data plane what cannot fail;
 *	6. tell the listeners, then return 0. Their JSON is made only now: without memory for it an event lacks its
 *	   detail.
 * A failure in 1-4 takes back what was done: a change is there in full, in memory, on disk and in the data
 * plane, or not at all. Since 4 precedes the return, what a caller has been told survives a crash.
 *
 * An uplink that is not available when the state is loaded (its netdev is gone) does not keep the daemon from
 * starting: the fabric comes up without it, its functions with link mode auto have no carrier, and it is
 * tried again every few seconds (`uplink_absent`).
 *
 * Objects returned are the model's, read-only, valid until the next change or return to the event loop.
 * Thread-safety: main thread. */

#include <jansson.h>

#include "dataplane/dataplane.h"
#include "model/model_change.h"
#include "settings/settings.h"
#include "util/log.h"

struct sd_event;
struct model;

#define MODEL_KEY_LEN 16

struct model_fabric {
	struct fabric_settings s;
	unsigned int pfs;       /* virtual PFs on it */
	bool control;           /* control frames pass if datapath_type_of_control() serves the PF */
	bool uplink_absent;     /* the uplink was not available at the start, and is tried again */
	char uplink_error[256]; /* why */
	/* For the model's own use. */
	struct model_change *adding; /* it is being made, if `coming` */
	bool coming;
	struct model_changes changes;
};

struct model_function {
	struct function_settings s;
	/* Preferences of the list in force (bit by position) that are left out, as they cannot enforce the
	 * settings any more; only after loading. */
	uint8_t refused;
	/* For the model's own use. */
	bool list_changed; /* it moves because of a new list when it moves next */
	char *saved;       /* its part of the state file, NULL: to be made again */
};

/* Virtual PFs with the same settings.vm are of one VM. It is there while it has a virtual PF, and so is its
 * key, with which the guest's driver and vpfd know each other (docs/control-channel.md). */
struct model_vm {
	char name[VPF_NAME_MAX];
	uint8_t key[MODEL_KEY_LEN]; /* secret: in the state file and the key files, nowhere else */
	unsigned int pfs;
};

struct model_pf {
	struct pf_settings s; /* datapaths never empty */
	uint8_t mac[6];       /* of the PF; function n has this plus n (mac.h) */
	struct model_fabric *fabric;
	struct model_vm *vm;
	struct model_function *fn;    /* s.vfs + 1, by VPF_FUNCTION_* */
	struct model_changes changes; /* for the model's own use; likewise: */
	bool reapply;  /* when they are over the data plane is to hear of all functions again */
	bool unforced; /* it has refused what nobody waits for: told, and tried again */
	struct model *model;
	uint64_t granted, refused; /* requests of the guest, since it was added or loaded */
	struct {                   /* for the model's own use: a guest cannot flood the log */
		uint64_t since_us;
		unsigned int lines, left_out;
	} control_log;
};

/* What events are about: what the API's clients subscribe to. */
enum model_topic {
	TOPIC_FUNCTION,
	TOPIC_LINK,
	TOPIC_PF,
	TOPIC_FABRIC,
	TOPIC_FDB,
	TOPIC_RING,
	TOPIC_QMP,
	TOPIC_CONTROL,
	TOPIC_DATAPATH,
	MODEL_TOPICS
};
extern const char *const model_topic_names[MODEL_TOPICS + 1]; /* NULL-terminated */

enum model_event_kind {
	EVENT_FUNCTION_CONNECTED, /* its front-end */
	EVENT_FUNCTION_DISCONNECTED,
	EVENT_FUNCTION_STARTED, /* by its driver */
	EVENT_FUNCTION_STOPPED,
	EVENT_FUNCTION_CHANGED,  /* its settings */
	EVENT_FUNCTION_FILTER,   /* what its driver asks to receive */
	EVENT_FUNCTION_ANNOUNCE, /* its driver is to announce it */
	EVENT_LINK_UP,
	EVENT_LINK_DOWN,
	EVENT_PF_ADDED,
	EVENT_PF_CHANGED,
	EVENT_PF_DELETED,
	EVENT_FABRIC_ADDED,
	EVENT_FABRIC_CHANGED,
	EVENT_FABRIC_DELETED,
	EVENT_FABRIC_UPLINK, /* its carrier, its absence, its return */
	EVENT_FABRIC_TROUBLE,
	EVENT_MAC_CONFLICT,
	EVENT_RING_ERROR,
	EVENT_QMP_CONNECTED,
	EVENT_QMP_DISCONNECTED,
	EVENT_QMP_ATTACHED,
	EVENT_QMP_DETACHED,
	EVENT_CONTROL_GRANTED, /* requests of the guest */
	EVENT_CONTROL_REFUSED,
	EVENT_CONTROL_HELLO, /* sessions of the guest's driver */
	EVENT_CONTROL_BYE,
	EVENT_CONTROL_LOST,
	EVENT_DATAPATH_BOUND, /* which datapath serves a function's rings */
	EVENT_DATAPATH_MOVED,
	EVENT_DATAPATH_RETURNED,
	EVENT_DATAPATH_RELEASED,
	EVENT_DATAPATH_NONE,
	EVENT_DATAPATH_FAILED,
	MODEL_EVENTS
};
extern const struct model_event_name {
	enum model_topic topic;
	const char *name; /* within its topic */
} model_event_names[MODEL_EVENTS];

/* Something happened. Everything is borrowed for the call. */
struct model_event {
	enum model_event_kind kind;
	enum log_level level; /* of the log line that the model writes about it */
	const char *fabric;   /* NULL: not about one */
	const char *pf;       /* NULL: not about one */
	int function;         /* VPF_FUNCTION_*, -1: not about one */
	/* Object with what is special to the event; NULL: nothing is, or there was no memory for it. */
	const json_t *detail;
	const char *text; /* one sentence */
};

typedef void (*model_listener)(void *ctx, const struct model_event *event);

struct model_config {
	struct sd_event *event;
	const char *state_dir; /* of state.json */
	const char *run_dir;   /* exists; functions' sockets are <run_dir>/<pf>/pf.sock and …/vf<N>.sock */
	uint64_t retry_us;     /* between attempts at an absent uplink, or at what was refused; 0: 3 s */
	/* Of the vhost-user sockets; the key files beside them are for the same readers, but never for all.
	 */
	unsigned int socket_mode;
	uint32_t socket_group; /* gid, UINT32_MAX: unchanged */
};

/* Opens and locks the state directory. -EBUSY, or the system call's error. */
int model_new(const struct model_config *config, struct model **ret, struct err *err);
/* Makes everything of the state file through the data plane, which must outlive the model or be freed just
 * before it. Call once, before any change. On failure the data plane is left half filled: free it. */
int model_load(struct model *m, const struct dataplane_ops *ops, void *dp, struct err *err);
/* To be called before the users that wait for answers are freed: each pending change is answered with -ECANCELED, and
 * so is any later one. Objects can still be deleted. */
void model_cancel(struct model *m);
/* Forgets the model, not the state. Takes NULL. Removes the PFs' directories, if their sockets are gone. */
void model_free(struct model *m);

/* What the data plane reports goes here, with the model as ctx. */
extern const struct dataplane_events model_dataplane_events;

/* Listeners are told in the order in which they came. They may look at the model, not change it. -ENOMEM. */
int model_listen(struct model *m, model_listener listener, void *ctx);
/* Not from within a listener. */
void model_unlisten(struct model *m, model_listener listener, void *ctx);
/* Logs the event and tells the listeners; for modules that report on behalf of the model (QMP). */
void model_report(struct model *m, const struct model_event *event);

const char *model_state_path(const struct model *m);
const char *model_run_dir(const struct model *m);
const struct model_fabric *model_fabric_at(const struct model *m, unsigned int i); /* NULL: past the last */
const struct model_fabric *model_fabric_find(const struct model *m, const char *name);
const struct model_pf *model_pf_at(const struct model *m, unsigned int i); /* NULL: past the last */
const struct model_pf *model_pf_find(const struct model *m, const char *name);
/* As dataplane_ops. */
int model_fabric_get(const struct model *m, const char *name, struct fabric_state *ret,
		     struct port_stats *ret_uplink);
int model_fabric_fdb(const struct model *m, const char *name,
		     void (*row)(void *arg, const struct fdb_row *row), void *arg);
int model_function_get(const struct model *m, const char *pf, unsigned int fn, struct function_state *ret,
		       struct vhost_user_info *ret_vu, struct port_stats *ret_stats);
int model_function_binding(const struct model *m, const char *pf, unsigned int fn, struct binding_info *ret);
/* How many functions of the PF have a front-end. */
unsigned int model_pf_connected(const struct model *m, const struct model_pf *pf);
/* The list in force: of what may serve it, in order. */
struct datapath_list model_function_list(const struct model_pf *pf, unsigned int fn);
/* Which settings the PF's VFs can have where they are served: CAN_* (settings/can.h) that every datapath of the list in
 * force can enforce, for at least one VF. */
uint32_t model_pf_can(const struct model *m, const struct model_pf *pf);
/* Path of the file with the VM's key, "vpf-key=" and 32 hexadecimal digits, for QEMU; returns ret. */
const char *model_key_path(const struct model *m, const char *pf, char ret[108]);
/* Path of the function's socket; returns ret. */
const char *model_function_path(const struct model *m, const char *pf, unsigned int fn, char ret[108]);

/* Errors of all that follow: -EOPNOTSUPP (no datapath of a list may be unable to enforce a setting), -EINVAL
 * (see `err->field`), -ENOENT, -EEXIST (name or MAC taken), -EBUSY (in use), -ENOSPC and others from saving,
 * those of the data plane.
 *
 * Those with an `answer` may be answered later (util/answer.h; NULL: the caller does not wait). Changes of one
 * virtual PF with its functions are made in the order in which they were asked for, and so are those of one fabric,
 * to which the adding of virtual PFs belongs. -ENOENT is the answer if the object is deleted before. An edit function
 * is called when the change has its turn, with the settings as they are then, to change them; its error is the
 * change's. What it needs (`ctx`) has to live until the answer. */
int model_fabric_add(struct model *m, const struct fabric_settings *s, const struct answer *answer,
		     struct err *err);
/* s->name tells which. */
int model_fabric_set(struct model *m, const struct fabric_settings *s, const struct answer *answer,
		     struct err *err);
typedef int model_fabric_edit_fn(void *ctx, struct fabric_settings *s, struct err *err);
int model_fabric_edit(struct model *m, const char *name, model_fabric_edit_fn *edit, void *ctx,
		      const struct answer *answer, struct err *err);
int model_fabric_del(struct model *m, const char *name, struct err *err); /* -EBUSY: has PFs */

/* s->datapaths empty, here and in model_pf_set(): the default for the fabric. */
int model_pf_add(struct model *m, const struct pf_settings *s, const uint8_t *mac /* NULL: generate */,
		 const struct answer *answer, struct err *err);
/* wanted->name tells which; `fabric`, `vfs`, `queue_pairs` must be as they are. `mac` NULL: keep; else no
 * function may be connected (-EBUSY), since QEMU has told the guest. */
int model_pf_set(struct model *m, const struct pf_settings *wanted, const uint8_t *mac,
		 const struct answer *answer, struct err *err);
typedef int model_pf_edit_fn(void *ctx, struct pf_settings *s, uint8_t mac[6], bool *ret_has_mac,
			     struct err *err);
int model_pf_edit(struct model *m, const char *name, model_pf_edit_fn *edit, void *ctx,
		  const struct answer *answer, struct err *err);
int model_pf_del(struct model *m, const char *name, struct err *err); /* -EBUSY: a function is connected */

/* Replaces the settings of a function, all or none; s->mac and s->failback are ignored, s->mtu unless own_mtu.
 * `own_mtu` stands for s->own_mtu. */
int model_function_set(struct model *m, const char *pf, unsigned int fn, const struct function_settings *s,
		       bool own_mtu, const struct answer *answer, struct err *err);
typedef int model_function_edit_fn(void *ctx, struct function_settings *s, struct err *err);
int model_function_edit(struct model *m, const char *pf, unsigned int fn, model_function_edit_fn *edit,
			void *ctx, const struct answer *answer, struct err *err);

/* What the guest asks for through its PF's driver: the fields of `s` that `mask` (SETTING_*) names, all or
 * none. Checked against the policy and what the host has pinned (policy.h), then as model_function_set().
 * Counted in model_pf.granted or .refused, and told as TOPIC_CONTROL "granted" or "refused" with `detail`
 * {"requested": {…}, "rule": err->field}; asking for what is so already is granted without an event. The text
 * in `err` is for the guest's log: at most 119 bytes for the errors named here.
 * -EPERM: `err->field` is the rule, "pinned" or "policy.…"; -EINVAL; -ENOENT: no such PF or function;
 * -EEXIST: the MAC is taken; -EOPNOTSUPP: a datapath cannot enforce it; others: it could not be saved, and
 * counts as neither. */
int model_function_request(struct model *m, const char *pf, unsigned int fn, uint32_t mask,
			   const struct function_settings *s, const struct answer *answer, struct err *err);

/* What the driver asked for, from QMP; passed to the data plane. Not saved: QEMU knows it. */
void model_function_filter(struct model *m, const char *pf, unsigned int fn, const struct rx_filter *filter);
