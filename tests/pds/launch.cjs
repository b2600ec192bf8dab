// Real @atproto/pds + a 30-line PLC directory (official @did-plc/lib validation, production did:doc format) on 127.0.0.1.
// Usage: node launch.cjs.  Needs only: npm i @atproto/pds @did-plc/lib
// One JSON line on stdout when ready; exits on SIGTERM/SIGINT/stdin EOF. Any PDS_* variable overrides a default.
const { createRequire } = require('node:module'), os = require('node:os'), path = require('node:path')
const fs = require('node:fs'), http = require('node:http'), crypto = require('node:crypto')
const need = createRequire(path.join(process.env.ATP_NODE_ROOT || process.cwd(), 'x.js'))
process.env.LOG_ENABLED ??= 'false'; process.env.NODE_ENV ??= 'development'
const plc = need('@did-plc/lib'), { PDS, envToCfg, envToSecrets, readEnv } = need('@atproto/pds')
const listen = (srv, port) => new Promise((ok, no) => srv.once('error', no).listen(port, '127.0.0.1', () => ok(srv.address().port)))

const logs = new Map(), seqLog = []                                    // did -> IndexedOperation[]
const current = (did) => (logs.get(did) ?? []).filter((o) => !o.nullified).map((o) => o.operation)
const toDoc = (d) => ({ '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1', 'https://w3id.org/security/suites/secp256k1-2019/v1'],
  id: d.did, alsoKnownAs: d.alsoKnownAs,
  verificationMethod: Object.entries(d.verificationMethods).map(([k, v]) => ({ id: `${d.did}#${k}`, type: 'Multikey', controller: d.did, publicKeyMultibase: v.replace('did:key:', '') })),
  service: Object.entries(d.services).map(([k, s]) => ({ id: '#' + k, type: s.type, serviceEndpoint: s.endpoint })) })
const plcServer = http.createServer(async (req, res) => {
  const send = (code, body, type = 'application/json') => { res.writeHead(code, { 'content-type': type }); res.end(typeof body === 'string' ? body : JSON.stringify(body)) }
  const [did, ...sub] = new URL(req.url, 'http://x').pathname.slice(1).split('/').map(decodeURIComponent), what = sub.join('/')
  try {
    if (did === '_health') return send(200, { version: 'mini' })
    if (did === 'export') return send(200, seqLog.map((o) => JSON.stringify(o)).join('\n'), 'application/jsonlines')
    if (req.method === 'POST') {
      let raw = ''; for await (const c of req) raw += c
      const op = JSON.parse(raw), before = logs.get(did) ?? []
      const { nullified } = await plc.assureValidNextOp(did, before, op)   // signature, rotation keys, prev
      if ((logs.get(did) ?? []).length !== before.length) return send(409, { message: 'concurrent operation' })
      const { cid } = await plc.getLastOpWithCid([op]), row = { did, operation: op, cid, nullified: false, createdAt: new Date() }
      for (const o of before) if (nullified.some((c) => c.equals(o.cid))) o.nullified = true
      logs.set(did, [...before, row]); seqLog.push({ ...row, cid: cid.toString(), createdAt: row.createdAt.toISOString() })
      return send(200, 'OK', 'text/plain')
    }
    const log = current(did)
    if (!log.length) return send(404, { message: `DID not registered: ${did}` })
    if (what === 'log') return send(200, log)
    if (what === 'log/last') return send(200, log.at(-1))
    if (what === 'log/audit') return send(200, logs.get(did).map((o) => ({ ...o, cid: o.cid.toString() })))
    const data = await plc.validateOperationLog(did, log)
    if (!data) return send(410, { message: `DID not available: ${did}` })
    return what === 'data' ? send(200, data) : send(200, JSON.stringify(toDoc(data)), 'application/did+ld+json')
  } catch (e) { send(400, { message: e.message }) }
})

async function main() {
  const plcPort = await listen(plcServer, +(process.env.PLC_PORT || 0)), plcUrl = `http://localhost:${plcPort}`
  const probe = http.createServer(), port = +process.env.PDS_PORT || await listen(probe, 0)
  await new Promise((ok) => probe.close(ok))
  const dir = process.env.PDS_DATA_DIRECTORY || fs.mkdtempSync(path.join(os.tmpdir(), 'pds-'))
  const set = Object.fromEntries(Object.entries(readEnv()).filter(([, v]) => v !== undefined && !(Array.isArray(v) && !v.length)))
  const env = { devMode: true, port, hostname: 'localhost', dataDirectory: dir, blobstoreDiskLocation: path.join(dir, 'blobs'),
    blobstoreDiskTmpLocation: path.join(dir, 'blobs-tmp'), blobUploadLimit: 52428800, didPlcUrl: plcUrl,
    serviceHandleDomains: ['.test'], inviteRequired: false, disableSsrfProtection: true, adminPassword: 'admin-pass',
    jwtSecret: crypto.randomBytes(16).toString('hex'), dpopSecret: crypto.randomBytes(32).toString('hex'),
    plcRotationKeyK256PrivateKeyHex: crypto.randomBytes(32).toString('hex'), ...set }
  const pds = await PDS.create(envToCfg(env), envToSecrets(env))
  const { listen: appListen } = pds.app; pds.app.listen = (p) => appListen.call(pds.app, +process.env.PDS_LISTEN_PORT || p, '127.0.0.1')   // loopback only
  await pds.start()
  let stopping = false
  const stop = async () => { if (stopping) return; stopping = true; setTimeout(() => process.exit(0), 3000).unref()
    await pds.destroy().catch(() => {}); if (!process.env.PDS_DATA_DIRECTORY) fs.rmSync(dir, { recursive: true, force: true }); process.exit(0) }
  process.on('SIGTERM', stop); process.on('SIGINT', stop); process.stdin.resume().on('end', stop).on('close', stop)
  console.log(JSON.stringify({ pdsUrl: `http://localhost:${port}`, plcUrl: env.didPlcUrl, adminPassword: env.adminPassword, jwtSecret: env.jwtSecret, dataDirectory: dir, pid: process.pid }))
}
main().catch((e) => { console.error(e); process.exit(1) })
