// A whole AT Protocol network: PLC directory, PDS, AppView, and the labeler Ozone, in this process (@atproto/dev-env).
// Prints one JSON line of addresses when it is ready. Then each line of standard input,
//   {"label": {"uri": "at://...", "cid": "bafy...", "add": ["retracted"], "negate": []}}
// is said by the labeler, and answered by a line: {"labels": [...]} or {"error": ...}. Ends when standard input does.
import readline from 'node:readline'
import { TestNetwork } from '@atproto/dev-env'

const network = await TestNetwork.create({ dbPostgresSchema: 'network' }) // letters only
const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')
say({
  plcUrl: network.plc.url,
  pdsUrl: network.pds.url,
  labelerUrl: network.ozone.url,
  labelerDid: network.ozone.ctx.cfg.service.did,
})
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    const { uri, cid, add, negate } = JSON.parse(line).label
    await network.ozone.getModClient().emitEvent({
      event: { $type: 'tools.ozone.moderation.defs#modEventLabel', createLabelVals: add ?? [], negateLabelVals: negate ?? [] },
      subject: { $type: 'com.atproto.repo.strongRef', uri, cid },
    })
    const query = network.ozone.url + '/xrpc/com.atproto.label.queryLabels?uriPatterns=' + encodeURIComponent(uri)
    say(await (await fetch(query)).json())
  } catch (error) {
    say({ error: String(error.message ?? error) })
  }
}
await network.close()
process.exit(0)
