/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by the files of the model: model.c (life, look-up), model_event.c (what happened), model_fabric.c,
 * model_pf.c, model_function.c (changes), model_change.c (those that take time),
 * model_datapath.c (what may serve functions), model_datapath_event.c (what does), model_request.c (what the
 * guest asks for), model_mac.c (who owns which MAC), model_vm.c (VMs and their keys), model_state.c (state
 * file). */

#include <systemd/sd-event.h>

#include "model/model.h"
#include "model/state.h"

struct model {
	sd_event *event;
	char *run_dir;
	uint64_t retry_us;
	struct state_store *store;
	const struct dataplane_ops *ops;
	void *dp;
	struct model_fabric *fabrics[VPF_MAX_FABRICS];
	unsigned int fabrics_n;
	struct model_pf *pfs[VPF_MAX_PFS];
	unsigned int pfs_n;
	struct model_vm *vms[VPF_MAX_PFS + 1]; /* one more: while a PF moves from one to another */
	unsigned int vms_n;
	unsigned int socket_mode;
	uint32_t socket_group;
	bool loading;                  /* model_load() is at work */
	bool ending;                   /* model_cancel() was called: no change begins any more */
	struct listener *listeners;    /* in the order in which they are told */
	sd_event_source *retry_timer;  /* runs while a fabric's uplink is absent, or a PF unforced */
	sd_event_source *changes_work; /* defer: a change may have its turn (model_change.h) */
};

/* model.c: tries again, in a while, what could not be done: absent uplinks, and what the data plane has refused. */
void model_retry(struct model *m);

/* model_state.c: saves the model as it is; fills the empty model from the file without asking the data plane.
 */
int model_save(struct model *m, struct err *err);
int model_read_state(struct model *m, bool *ret_changed, struct err *err);

/* model.c */
struct model_fabric *model_lookup_fabric(const struct model *m, const char *name);
struct model_pf *model_lookup_pf(const struct model *m, const char *name);
/* The same, with -ENOENT and `err` about `field`. */
int model_need_fabric(const struct model *m, const char *name, const char *field, struct model_fabric **ret,
		      struct err *err);
int model_need_pf(const struct model *m, const char *name, const char *field, struct model_pf **ret,
		  struct err *err);

/* model_vm.c */
/* A VM without PFs, so far. `key` NULL: a new one. */
int model_vm_new(struct model *m, const char *name, const uint8_t key[MODEL_KEY_LEN], struct model_vm **ret,
		 struct err *err);
/* The VM of that name, made if there is none. Only those that have PFs are saved. */
int model_vm_get(struct model *m, const char *name, struct model_vm **ret, struct err *err);
void model_vms_tidy(struct model *m); /* forgets those without PFs */
const char *model_vm_key_text(const uint8_t key[MODEL_KEY_LEN], char ret[2 * MODEL_KEY_LEN + 1]);
bool model_vm_key_parse(const char *text, uint8_t ret[MODEL_KEY_LEN]);
/* The key file of a PF, whose directory is there; on failure the old one stays. */
int model_key_write(const struct model *m, const char *pf, const struct model_vm *vm, struct err *err);
void model_key_remove(const struct model *m, const char *pf);

/* model_fabric.c; `self`: the object that `s` is to replace, NULL for a new one. */
int model_fabric_check(const struct model *m, const struct fabric_settings *s,
		       const struct model_fabric *self, struct err *err);
/* All fabrics of the state file, to the data plane; if only the uplink of one is to blame, without it. Runs the event
 * loop until all is answered. */
int model_fabrics_load(struct model *m, struct err *err);
/* Tries absent uplinks again; whether there are some still. */
bool model_fabrics_retry(struct model *m);

/* model_pf.c */
int model_pf_object_new(struct model *m, const struct pf_settings *s, const uint8_t mac[6],
			struct model_fabric *fabric, struct model_pf **ret, struct err *err);
void model_pf_object_free(struct model *m, struct model_pf *pf); /* and its VM, if that has no other PF */
void model_pf_insert(struct model *m, struct model_pf *pf, unsigned int at);
int model_pf_check(const struct model *m, const struct pf_settings *s, struct err *err);
/* To the data plane; undone in full on failure. */
int model_pf_apply(struct model *m, const struct model_pf *pf, struct err *err);
void model_pf_remove_dir(const struct model *m, const char *pf);

/* model_function.c */
/* Tells the data plane what each function is to do now; while the PF changes, when that is over. */
void model_functions_apply(struct model *m, struct model_pf *pf);
/* Tells it what is so already, which nobody waits for: if it refuses, that is reported, and tried again. */
void model_function_restore(struct model *m, struct model_pf *pf, unsigned int fn);
/* As `f` says, but without carrier if the fabric lacks its uplink, and within the policy. */
struct function_settings model_function_effective(const struct model_pf *pf, unsigned int fn,
						  const struct model_function *f);
/* Steps of changes: whether the data plane can have it, and that it has it. */
int model_function_ask(struct model *m, const struct model_pf *pf, unsigned int fn,
		       const struct model_function *f, const struct answer *answer, struct err *err);
int model_function_try(struct model *m, const struct model_pf *pf, unsigned int fn,
		       const struct model_function *f, const struct answer *answer, struct err *err);
/* A change of the PF or of a function has come to its end. */
void model_pf_settle(struct model *m, struct model_pf *pf);

/* What the guest asks for: the fields of `s` that `mask` (SETTING_*) names. */
struct model_request {
	uint32_t mask;
	struct function_settings s;
};
int model_function_ask_for(struct model *m, struct model_pf *pf, unsigned int fn,
			   const struct model_request *request, const struct answer *answer, struct err *err);
/* model_request.c: takes it into `s`, the settings that are, if the policy allows it. Counts and tells a refusal. */
int model_request_check(struct model *m, struct model_pf *pf, unsigned int fn,
			const struct model_request *request, struct function_settings *s, struct err *err);
/* It has been carried out: counts and tells it. */
void model_request_granted(struct model *m, struct model_pf *pf, unsigned int fn,
			   const struct model_request *request);

/* Sum of the minimum rates of all functions of the PF but `but` (-1: of all). */
uint64_t model_sum_minimums(const struct model_pf *pf, int but);

/* model_datapath.c */
/* A function's own list or its PF's. */
struct datapath_list model_list_in_force(const struct pf_settings *pf, const struct model_fabric *fabric,
					 unsigned int fn, const struct function_settings *s);
/* What the model keeps about a fabric that the data plane has now. */
void model_fabric_learn(struct model *m, struct model_fabric *f);
/* Whether the lists are available and keep what settings and policy promise. `pf` NULL: a new one, else it is to
 * be as `s` says; `functions`: its s->vfs + 1. What does not change is not looked at. -EOPNOTSUPP, -ENODEV,
 * -EBUSY (a front-end was offered more), -EINVAL. */
int model_datapath_check_pf(const struct model *m, const struct pf_settings *s,
			    const struct model_fabric *fabric, const struct model_pf *pf,
			    const struct model_function *functions, struct err *err);
int model_datapath_check_function(const struct model *m, const struct model_pf *pf, unsigned int fn,
				  const struct function_settings *s, bool guest, struct err *err);
/* Finds out, and logs, what of the lists of all functions has to be left out; or of one that is to be as `s`. */
void model_datapath_refused(const struct model *m, struct model_pf *pf);
uint8_t model_datapath_left_out(const struct model *m, const struct model_pf *pf, unsigned int fn,
				const struct function_settings *s);
/* Where the function is served from now on follows from another list. */
void model_datapath_new_list(struct model_pf *pf, unsigned int fn);
/* What front-ends of the function are to be offered, for settings that are in force. */
struct function_offer model_datapath_offer(const struct model *m, const struct model_pf *pf,
					   const struct function_settings *effective);
/* The list in force without what is left out, and failback. */
void model_datapath_effective(const struct model_pf *pf, unsigned int fn, const struct model_function *f,
			      struct function_settings *s);

/* model_mac.c; -EEXIST with `err` about "mac". */
/* A PF with `mac` on the fabric, beside everything but `self`. */
int model_mac_check_pf(const struct model *m, const struct model_fabric *fabric, const uint8_t mac[6],
		       uint32_t vfs, const struct model_pf *self, struct err *err);
/* An administrative MAC for a function. */
int model_mac_check_admin(const struct model *m, const struct model_pf *pf, unsigned int fn,
			  const uint8_t mac[6], struct err *err);
/* All administrative MACs at once, after loading. */
int model_mac_check_all(const struct model *m, struct err *err);
/* A MAC that no function of any fabric has. */
int model_mac_generate(const struct model *m, const char *name, uint32_t vfs, uint8_t ret[6],
		       struct err *err);

/* model_datapath_event.c: of dataplane_events. */
void model_on_datapath_changed(void *ctx, const char *pf, unsigned int fn, const struct datapath_pref *from,
			       const struct datapath_pref *to, uint64_t gap_us, const char *why);
void model_on_datapath_failed(void *ctx, const char *pf, unsigned int fn, const struct datapath_pref *pref,
			      const char *why);

/* model_event.c */
void model_forget_listeners(struct model *m);
/* Reports with a sentence; `detail` is consumed, and may be NULL. */
void model_reportf(struct model *m, enum model_event_kind kind, enum log_level level, const char *fabric,
		   const char *pf, int function, json_t *detail, const char *fmt, ...) printf_like(8, 9);
/* The detail of an event about a change: {"changed": `members`}, which is consumed. */
json_t *model_changed_detail(json_t *members);
/* "pf" or "vf12" */
const char *model_function_name(unsigned int fn, char ret[16]);
