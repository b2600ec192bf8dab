// Independent oracle of version ranges: npm's own semver. A JSON pair [range, version] per stdin line, one JSON verdict per line; null where the range is none.
const { createRequire } = require('node:module'), path = require('node:path'), rl = require('node:readline')
const { Range, satisfies } = createRequire(path.join(process.env.ATP_NODE_ROOT || process.cwd(), 'x.js'))('semver')
rl.createInterface({ input: process.stdin }).on('line', (line) => {
  const [range, version] = JSON.parse(line)
  let verdict = null
  try { new Range(range); verdict = satisfies(version, range) } catch { }
  console.log(JSON.stringify(verdict))
})
