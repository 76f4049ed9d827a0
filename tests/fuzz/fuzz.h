/* SPDX-License-Identifier: Apache-2.0 */
/* What a file of this folder offers: to libFuzzer, or to replay.c when there is no engine. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Hands one input to the parser. It returns 0; a finding is a crash, a sanitizer's report, or a
 * must() about the answer that does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
