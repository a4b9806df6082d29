export * from './http/pipeline.ts'
