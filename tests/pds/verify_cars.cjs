// Independent oracle, for many at once: node verify_cars.cjs < lines of JSON {did, key, where, car}, car in base64; a line of JSON for each
const { createRequire } = require('node:module'), path = require('node:path')
const need = createRequire(path.join(process.env.ATP_NODE_ROOT || process.cwd(), 'x.js'))
const repo = need('@atproto/repo'), lines = require('node:readline').createInterface({ input: process.stdin })
;(async () => {
  for await (const line of lines) {
    const { did, key, where, car } = JSON.parse(line)
    try {
      const rs = await repo.verifyRecords(Buffer.from(car, 'base64'), did, key)
      console.log(JSON.stringify({ ok: rs.some((r) => `${r.collection}/${r.rkey}` === where) }))
    } catch (e) {
      console.log(JSON.stringify({ ok: false, error: e.message }))
    }
  }
})()
