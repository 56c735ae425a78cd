// Three nodes on this machine, each a process of `parleyd`.

import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const certificates = new URL('../../scripts/make_certs.sh', import.meta.url).pathname

async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => resolve(server))
  })))
  const ports = servers.map((server) => server.address().port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

export class Cluster {
  #nodes = []
  #output = ''

  static async start(parleyd) {
    const cluster = new Cluster()
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'parley-foreign-'))
    cluster.directory = directory
    process.once('exit', () => cluster.stop())
    execFileSync(certificates, [`${directory}/certs`, '1', '2', '3'], { stdio: 'ignore' })
    cluster.ca = fs.readFileSync(`${directory}/certs/client-ca.pem`)
    const ports = await freePorts(9)
    const at = (n) => `127.0.0.1:${ports[n]}`
    for (const node of [1, 2, 3]) {
      const [client, admin] = [at(node + 2), at(node + 5)]
      // A node ends with us, however we end.
      const command = ['setpriv', '--pdeathsig', 'KILL', parleyd, '--node', `${node}`,
        '--seeds', `${at(0)},${at(1)},${at(2)}`, '--data-dir', `${directory}/data-${node}`, '--certs-dir', `${directory}/certs`,
        '--peer-listen', at(node - 1), '--client-listen', client, '--admin-listen', admin,
        // Two people say here what many do elsewhere.
        '--limits-user-sends-per-second', '200', '--limits-user-sends-burst', '400']
      cluster.#nodes.push({ command, client, admin, log: `${directory}/node-${node}.log` })
      cluster.restart(node)
    }
    await cluster.ready()
    return cluster
  }

  restart(node) {
    const it = this.#nodes[node - 1]
    const log = fs.openSync(it.log, 'a')
    it.child = spawn(it.command[0], it.command.slice(1), { stdio: ['ignore', 'pipe', log] })
    fs.closeSync(log)
    it.child.stdout.on('data', (text) => (this.#output += text))
  }

  /** All nodes serve. */
  async ready() {
    for (const { admin, child, log } of this.#nodes)
      if (!(await answers(admin, child)))
        throw new Error(`the cluster does not become ready\n${fs.readFileSync(log, 'utf8').slice(-1000)}`)
  }

  /** Of clients; node 1 comes first. */
  addresses() {
    return this.#nodes.map((node) => node.client)
  }

  /** The codes that nodes have printed for `phone`, of which they show only the ends. */
  codesFor(phone) {
    const line = new RegExp(`code for \\${phone.slice(0, 3)}…${phone.slice(-2)}: (\\d{6})`, 'g')
    return [...this.#output.matchAll(line)].map((found) => found[1])
  }

  /** The newest of them. */
  async codeFor(phone) {
    for (const deadline = Date.now() + 10_000; Date.now() < deadline; await pause(20)) {
      const found = this.codesFor(phone).at(-1)
      if (found) return found
    }
    throw new Error(`no node printed a code for ${phone}`)
  }

  /** Resolves when the process has ended. */
  async kill(node) {
    const { child } = this.#nodes[node - 1]
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  stop() {
    for (const { child } of this.#nodes) child.kill('SIGKILL')
    fs.rmSync(this.directory, { recursive: true, force: true })
  }
}

async function answers(admin, child) {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline && child.exitCode === null; await pause(50)) {
    const status = await new Promise((resolve) => {
      http.get(`http://${admin}/readyz`, (answer) => resolve(answer.resume().statusCode)).on('error', () => resolve(0))
    })
    if (status === 200) return true
  }
  return false
}
