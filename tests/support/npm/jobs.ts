// SPDX-License-Identifier: Apache-2.0
// What a user's program does with the generated client: calls functions, waits, pages through a log, follows, cancels. Prints JSON
// of what came of it. Arguments: the gateway's address, and a file that the job to be cancelled waits for.
import { client } from './generated/client.gen';
import * as mist from './generated';

const PAGE = 100;
const [, , baseUrl, never] = process.argv;

async function submit(id: string, body: mist.Arguments): Promise<string> {
	const { data } = await mist.submitJob({ path: { id }, body, throwOnError: true });
	if (!('id' in data) || data.id === undefined)
		throw new Error(`no job: ${JSON.stringify(data)}`);
	return data.id;
}

async function pages(id: string): Promise<string[]> {
	const found: string[] = [];
	for (let from = 0; ; from += PAGE) {
		const range = `bytes=${from}-${from + PAGE - 1}`;
		const { data, response } = await mist.getJobLog({ path: { id }, headers: { Range: range } });
		if (response?.status === 416)
			return found;
		if (response?.status !== 206 || typeof data !== 'string')
			throw new Error(`${range}: ${response?.status}`);
		found.push(data);
	}
}

async function follow(id: string): Promise<string[]> {
	const { stream } = await mist.followJob({ path: { id } });
	const kinds: string[] = [];
	for await (const event of stream)
		if (typeof event === 'object')
			kinds.push(event.event);
	return kinds;
}

async function main(): Promise<void> {
	client.setConfig({ baseUrl });
	const waited = await mist.submitJob({
		path: { id: 'typed' }, body: { i: 1 }, headers: { Prefer: 'wait=60' }, throwOnError: true,
	});
	const chatty = await submit('chatty', { lines: 20 });
	const followed = await follow(chatty);
	const log = await pages(chatty);

	const endless = await submit('wait_for', { path: never });
	const cancelled = await mist.cancelJob({ path: { id: endless }, throwOnError: true });
	const refused = await mist.submitJob({ path: { id: 'typed' }, body: {} });
	const history = await mist.listJobs({ query: { status: ['cancelled'], paginate: true }, throwOnError: true });
	console.log(JSON.stringify({
		waited: waited.data,
		followed,
		pages: log,
		job: (await mist.getJob({ path: { id: chatty }, throwOnError: true })).data,
		cancelled: cancelled.data.status,
		refused: refused.error?.detail,
		history: Array.isArray(history.data) ? -1 : history.data.total,
		functions: (await mist.listFunctions({ throwOnError: true })).data.map((f) => f.name),
	}));
}

void main();
