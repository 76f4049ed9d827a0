// SPDX-License-Identifier: Apache-2.0
// What AsyncAPI's own parser says of a document: a JSON list of {severity, path, message}, and nothing that is fine. Argument: its path.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], 'utf8'));
if (!document && diagnostics.length === 0)
	throw new Error('no document, and no reason');
console.log(JSON.stringify(diagnostics.map(({ severity, path, message }) => ({ severity, path: path.join('.'), message }))));
