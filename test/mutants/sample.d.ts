export function chosen (id: string, percent: number): boolean
