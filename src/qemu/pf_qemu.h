/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The virtual PFs that have a QMP socket, each with its link to the VM's QEMU: follows the model (which PFs
 * there are, their sockets and MTUs), brings the carrier of each function to QEMU and the drivers' receive
 * filters to the model, reports on topic "qmp", and plugs PFs in and out. Thread-safety: main thread. */

#include "model/model.h"
#include "qemu/qemu_link.h"

struct pf_qemu;

/* Makes links for what is in the model and listens to it from then on. The model is borrowed. */
int pf_qemu_new(struct sd_event *event, struct model *m, struct pf_qemu **ret, struct err *err);
/* Operations in progress end with -ECANCELED before this returns; the model must not report anything
 * afterwards. Takes NULL. */
void pf_qemu_free(struct pf_qemu *q);

/* Whether QMP is connected, and whether the VM has the PF's device. */
void pf_qemu_state(const struct pf_qemu *q, const char *pf, bool *ret_connected, bool *ret_present);

/* As qemu_link_attach() and qemu_link_detach(), and: -ENOENT no such PF, -ENOTCONN (field "qmp") it has no
 * QMP socket. */
int pf_qemu_attach(struct pf_qemu *q, const char *pf, const char *bus,
		   const struct qemu_args_options *options, qemu_link_done_fn done, void *arg,
		   struct err *err);
/* Done when QEMU has closed its connections as well: pf.del may follow at once. */
int pf_qemu_detach(struct pf_qemu *q, const char *pf, qemu_link_done_fn done, void *arg, struct err *err);

/* The functions of a PF in the terms of qemu/qemu_args.h: s.vfs + 1, to be freed. Sockets are in *ret_paths,
 * to be freed. */
int pf_qemu_functions(const struct model *m, const struct model_pf *pf, struct qemu_function **ret,
		      char **ret_paths, struct err *err);
