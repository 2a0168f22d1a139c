import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { shortId } from '../../cloud-tasks/names.js'
import { quietRoute } from './quiet-route.js'
import { readPageFiles, type PageFile, type PageFiles } from './files.js'

/** Mounts the page at the root of `scope`, and its assets below `assets/`. */
export function mountPage (scope: FastifyInstance): void {
  let reading: Promise<PageFiles> | undefined
  const files = async (): Promise<PageFiles> => {
    reading ??= readPageFiles().catch((error: unknown) => {
      reading = undefined
      throw error
    })
    return await reading
  }

  scope.route({
    ...quietRoute,
    method: 'GET',
    url: '/',
    async handler (request, reply) {
      const path = request.raw.url!.split('?', 1)[0]!
      // Without the trailing slash, the browser would resolve relative URLs wrongly. Relative, because a proxy may have removed a prefix.
      if (!path.endsWith('/')) return reply.redirect(`${shortId(path)}/`, 302)
      return send(request, reply, (await files()).index, REVALIDATE)
    }
  })
  scope.route<{ Params: { '*': string } }>({
    ...quietRoute,
    method: 'GET',
    url: '/assets/*',
    async handler (request, reply) {
      const { assets, version } = await files()
      const [, asked, path] = VERSIONED.exec(request.params['*'])!
      const file = assets.get(path!)
      if (file === undefined) return reply.code(404).type('text/plain; charset=utf-8').send('File not found')
      // During a deployment, a page may load assets from a server with another version.
      return send(request, reply, file, asked === version ? IMMUTABLE : REVALIDATE)
    }
  })
}

function send (request: FastifyRequest, reply: FastifyReply, { type, bytes, etag }: PageFile, cacheControl: string): FastifyReply {
  reply.headers({ 'cache-control': cacheControl, etag })
  return matches(request.headers['if-none-match'], etag) ? reply.code(304).send() : reply.type(type).send(bytes)
}

/** Compressing proxies mark tags as weak; RFC 9110 requires weak comparison here. */
function matches (header: string | undefined, etag: string): boolean {
  return header !== undefined && header.split(',').some(tag => tag.trim().replace(/^W\//, '') === etag)
}

/** Private, because `auth` may protect the page. */
const REVALIDATE = 'private, no-cache'
const IMMUTABLE = 'private, max-age=31536000, immutable'

/** The optional version, and the path. */
const VERSIONED = /^(?:([\w-]{16})\/)?(.*)$/s
